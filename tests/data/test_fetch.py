"""Downloads against a server on the loopback address that can misbehave."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cirlib.data.fetch import fetch_annotations, fetch_file
from cirlib.data.manifest import AnnotationFile, load_manifest
from cirlib.types import InputError

CONTENT = bytes(range(256)) * 2000
SHA = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server does and what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    stop_after: int | None = None
    wrong_start: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            if "absent" in self.path:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if wanted and state.ranges else 200)
            if wanted and state.ranges:
                self.send_header("Content-Range", f"bytes {start + state.wrong_start}-{len(state.content) - 1}/{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.stop_after])

        def log_message(self, *args) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/"
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_fetch_writes_the_file_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    seen = []
    assert fetch_file(server.url + "f", tmp_path / "new/f", SHA, progress=lambda done, total: seen.append((done, total))) == "fetched"
    assert (tmp_path / "new/f").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["f"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch_file(server.url + "f", tmp_path / "new/f", SHA) == "present"
    assert len(server.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.stop_after = 100_000
    with pytest.raises(InputError, match=r"100,000 of 512,000 bytes\); 100,000 bytes are kept"):
        fetch_file(server.url + "f", tmp_path / "f", SHA)
    assert not (tmp_path / "f").exists() and (tmp_path / "f.part").stat().st_size == 100_000
    server.stop_after, server.ranges = None, ranges
    assert fetch_file(server.url + "f", tmp_path / "f", SHA) == "fetched"
    assert (tmp_path / "f").read_bytes() == CONTENT and not (tmp_path / "f.part").exists()
    assert server.asked[-1] == ("/f", "bytes=100000-")


def test_complete_part_is_not_mistaken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT)
    assert fetch_file(server.url + "f", tmp_path / "f", SHA) == "fetched"
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_wrong_checksum_keeps_the_old_file_and_removes_the_download(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(InputError, match=f"has the checksum {SHA[:12]}"):
        fetch_file(server.url + "f", tmp_path / "f", "0" * 64)
    assert (tmp_path / "f").read_bytes() == b"old" and not (tmp_path / "f.part").exists()


def test_stale_part_does_not_survive(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"x" * 500)
    with pytest.raises(InputError, match="checksum"):
        fetch_file(server.url + "f", tmp_path / "f", SHA)
    assert fetch_file(server.url + "f", tmp_path / "f", SHA) == "fetched"


def test_wrong_range_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:500])
    server.wrong_start = 7
    with pytest.raises(InputError, match="a part that was not asked for"):
        fetch_file(server.url + "f", tmp_path / "f", SHA)


@pytest.mark.parametrize("address", ["absent", None])
def test_server_errors_are_one_line(server: Server, tmp_path: Path, address: str | None) -> None:
    url = server.url + address if address else "http://127.0.0.1:9/f"
    with pytest.raises(InputError, match="could not be fetched") as caught:
        fetch_file(url, tmp_path / "f", SHA)
    assert "\n" not in str(caught.value)


def test_local_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="begins with http"):
        fetch_file("file:///etc/hostname", tmp_path / "f")


def test_whole_benchmark_in_its_tree(server: Server, tmp_path: Path) -> None:
    files = (AnnotationFile("captions/a.json", sha256=SHA), AnnotationFile("b.json"))
    manifest = replace(load_manifest("cirr"), files=files)
    states = []
    for _ in range(2):
        fetch_annotations(manifest, tmp_path, server.url, done=lambda file, state: states.append((file.path, state)))
    assert states == [("captions/a.json", "fetched"), ("b.json", "fetched"), ("captions/a.json", "present"), ("b.json", "present")]
    assert [path for path, _ in server.asked] == ["/captions/a.json", "/b.json"]


def test_only_files_that_the_evaluation_needs_stop_a_fetch(server: Server, tmp_path: Path) -> None:
    files = (AnnotationFile("absent.json", optional=True), AnnotationFile("b.json"), AnnotationFile("absent-too.json"))
    states = {}
    with pytest.raises(InputError, match=r"absent-too\.json could not be fetched"):
        fetch_annotations(replace(load_manifest("cirr"), files=files), tmp_path, server.url, done=lambda f, s: states.update({f.path: s}))
    assert states["absent.json"].startswith("failed: ") and states["b.json"] == "fetched"
