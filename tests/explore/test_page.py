"""The page in a real browser, from the command line on: searched, uploaded to, misused, and watched for what it fetches and stores."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlparse

import pytest
from page_visitors import report, visit
from PIL import Image

pytestmark = pytest.mark.slow

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
WIDE, PHONE = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}


class Proxy:
    """Counts who wants to leave this machine, and lets nobody."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked = []
        threading.Thread(target=self._refuse, daemon=True).start()

    def _refuse(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(200))


@pytest.fixture(scope="module")
def proxy():
    made = Proxy()
    yield made
    made.listener.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page may write: its cache and the system's folder for temporary files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(proxy, folder):
    for name in ("cache", "tmp", "home"):
        (folder / name).mkdir()
    outside = {name: proxy.address for base in ("http_proxy", "https_proxy", "all_proxy") for name in (base, base.upper())}
    own = {"CIRLIB_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "cirlib.cli", "explore", "--pictures", "320", "--port", "0", "--device", "cpu"]
    methods = ["--methods", "image only", "sum", "Pix2Key"]
    with open(folder / "errors.txt", "w") as errors:
        page = subprocess.Popen(command + methods, env=os.environ | outside | own, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        for line in page.stdout:
            if found := re.search(r"The page is at (http://127\.0\.0\.1:\d+)", line):
                yield found[1]
                break
        else:
            pytest.fail(f"the page did not start: {(folder / 'errors.txt').read_text()[-1000:]}")
    finally:
        page.terminate()
        page.wait(20)
        page.stdout.close()


@pytest.fixture(scope="module")
def chromium():
    if BROWSER is None:
        pytest.skip("no Chromium here; Debian has it as the package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        yield browser
        browser.close()


class Visitor:
    """A tab with the page open, by what a person does with it."""

    def __init__(self, browser, address, window=WIDE):
        self.tab = browser.new_context(viewport=window).new_page()
        self.tab.set_default_timeout(20_000)
        self.fetched, self.errors = [], []
        self.tab.on("request", lambda request: self.fetched.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.goto(address)
        self.tab.wait_for_selector("#cx-picker img")

    def pick(self, place):
        before = self.reference()
        self.tab.locator("#cx-picker button[data-row]").nth(place).click()
        self.tab.wait_for_function("before => document.querySelector('.cx-trail .now img').src !== before", arg=before)

    def reference(self):
        return self.tab.locator(".cx-trail .now img").get_attribute("src")

    def line(self):
        return self.tab.locator(".cx-line").inner_text()

    def search(self, text, without="", told="best of"):
        self.tab.evaluate("document.querySelector('.cx-line').textContent = ''")
        self.tab.get_by_label("What to change").fill(text)
        self.tab.get_by_label("But without").fill(without)
        self.tab.locator("#cx-go").click()
        self.wait_for(told)

    def wait_for(self, told):
        self.tab.wait_for_function("told => document.querySelector('.cx-line').textContent.includes(told)", arg=told)

    def send(self, name, data, told):
        self.tab.set_input_files("#cx-picker input[type=file]", {"name": name, "mimeType": "image/png", "buffer": data})
        self.wait_for(told)

    def rows(self):
        return [int(button.get_attribute("data-row")) for button in self.tab.locator(".cx-hits button").all()]

    def choose(self, label, name):
        self.tab.get_by_label(label, exact=True).click()
        self.tab.get_by_role("option", name=name, exact=True).click()
        self.tab.wait_for_function("!document.querySelector('[role=option]')")


@pytest.fixture
def visitor(chromium, address):
    made = Visitor(chromium, address)
    yield made
    assert not made.errors, "errors in the browser"
    made.tab.context.close()


def picture(color="red", size=(300, 200), form="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, form)
    return buffer.getvalue()


def files(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != "errors.txt")


def test_it_opens_with_an_answer_and_searches(visitor):
    assert visitor.line().startswith("12 best of 320 pictures") and len(visitor.rows()) == 12
    visitor.pick(3)
    visitor.search("in blue", "buttons")
    assert len(visitor.rows()) == 12 and "color: blue" in visitor.tab.locator(".cx-fact.want").inner_text()
    assert "buttons: yes" in visitor.tab.locator(".cx-fact.avoid").inner_text()
    visitor.tab.wait_for_function("[...document.querySelectorAll('.cx-hits img')].every(image => image.naturalWidth > 100)")
    assert visitor.tab.locator(".cx-map svg .hit").count() == 12 and visitor.tab.locator(".cx-map svg .query").count() == 1
    first = visitor.rows()
    visitor.tab.get_by_text("Diversity, and weights").click()
    visitor.tab.get_by_label("number input for Diversity").fill("0.9")
    visitor.tab.get_by_label("number input for Diversity").press("Enter")
    visitor.search("in blue", "buttons")
    assert visitor.rows()[0] == first[0] and visitor.rows() != first


def test_two_methods_side_by_side(visitor):
    visitor.choose("Beside it", "sum")
    visitor.search("in red")
    visitor.tab.wait_for_selector(".cx-two")
    assert visitor.tab.locator(".cx-answer h2").all_inner_texts() == ["Pix2Key", "sum"] and len(visitor.rows()) == 24
    assert visitor.tab.locator(".cx-map svg").count() == 2


def test_a_result_starts_the_next_turn_and_the_trail_leads_back(visitor):
    start = visitor.reference()
    visitor.search("in red")
    chosen = visitor.rows()[1]
    visitor.tab.locator(".cx-hits button").nth(1).click()
    visitor.wait_for("Turn 2 starts from")
    assert visitor.reference() == f"/pictures/{chosen}.jpg" and visitor.tab.get_by_label("What to change").input_value() == ""
    assert "in red" in visitor.tab.locator(".cx-trail .said").inner_text()
    visitor.search("is longer")
    assert chosen not in visitor.rows()
    visitor.tab.locator(".cx-trail button").first.click()
    visitor.wait_for("Back at this picture")
    assert visitor.reference() == start and visitor.tab.locator(".cx-trail li").count() == 1


def test_an_upload_is_searched_and_not_stored(visitor, folder):
    before = files(folder)
    visitor.send("my coat.png", picture(), "my coat.png stays in memory only")
    assert visitor.reference().startswith("data:image/jpeg;base64,")
    for method in ("Pix2Key", "sum", "image only"):
        visitor.choose("Method", method)
        visitor.search("in blue")
        assert len(visitor.rows()) == 12
    assert files(folder) == before, "nothing was written anywhere"


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("words.png", b"these are words", "“words.png” is no picture of a known type"),
        ("half.jpg", picture(form="JPEG", size=(900, 900))[:900], "“half.jpg” is damaged"),
        ("tiny.png", picture(size=(4, 4)), "“tiny.png” has 4 x 4 pixels"),
        ("large.png", bytes(11 * 2**20), "at most 10 MB are read"),
    ],
    ids=("no picture", "half", "tiny", "large"),
)
def test_a_bad_upload_is_one_line_on_the_page(visitor, folder, name, data, told):
    before, reference, rows = files(folder), visitor.reference(), visitor.rows()
    visitor.send(name, data, told)
    assert "\n" not in visitor.line() and visitor.tab.locator(".cx-line[role=alert]").count() == 1
    assert visitor.reference() == reference and visitor.rows() == rows and files(folder) == before
    visitor.search("in blue")


def test_words_that_cannot_be_used_are_one_line_on_the_page(visitor):
    rows = visitor.rows()
    visitor.search("in blue", "frobnication", told="names nothing that the parser")
    assert visitor.rows() == rows
    visitor.search("", "", told="needs to know what to change")
    visitor.search("a" * 400)
    assert visitor.tab.get_by_label("What to change").input_value() == "a" * 300


def test_other_pictures_to_start_from(visitor):
    first = visitor.tab.locator("#cx-picker button[data-row]").first.get_attribute("data-row")
    visitor.tab.get_by_text("Other pictures").click()
    visitor.tab.wait_for_function("row => document.querySelector('#cx-picker button[data-row]').dataset.row !== row", arg=first)


def test_it_fits_a_phone(chromium, address):
    visitor = Visitor(chromium, address, PHONE)
    visitor.pick(5)
    visitor.search("in blue")
    assert visitor.tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    visitor.tab.wait_for_function("document.querySelector('.cx-line').getBoundingClientRect().top < 200")
    narrow = visitor.tab.locator(".cx-hits button").first.bounding_box()["width"]
    assert narrow > 140, "two pictures a row, large enough to see"
    assert visitor.tab.locator("#cx-go").bounding_box()["height"] >= 44 and not visitor.errors
    visitor.tab.context.close()


def test_twenty_visitors_at_once(address):
    found = visit(address, users=20, searches=2)
    print(report(found))
    assert len(found) == 40 and all("12 best of 320" in line for _, line in found), [line for _, line in found if "best of" not in line][:3]


def test_a_port_that_is_taken_is_told_at_once(address):
    command = [sys.executable, "-m", "cirlib.cli", "explore", "--port", address.rpartition(":")[2]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "give another --port" in done.stderr


def test_nothing_leaves_this_machine(chromium, address, proxy, folder):
    visitor = Visitor(chromium, address)
    visitor.search("in red")
    visitor.tab.wait_for_timeout(1500)
    outside = [url for url in visitor.fetched if urlparse(url).scheme not in ("data", "blob") and urlparse(url).hostname != "127.0.0.1"]
    assert len(visitor.fetched) > 20 and not outside
    assert visitor.tab.evaluate("fetch('https://example.com').then(() => 'fetched', () => 'refused')") == "refused"
    fonts = visitor.tab.evaluate("[...document.fonts].map(font => font.family)")
    assert not fonts, "no font is loaded; the system's are used"
    assert not proxy.asked, "the server asked for something outside"
    assert "Traceback" not in (folder / "errors.txt").read_text()
    visitor.tab.context.close()
