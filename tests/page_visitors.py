"""Visitors of a page of `cirlib explore`, as many at once as asked for, over plain HTTP on the loopback address.

By hand, while a page is open: python tests/page_visitors.py http://127.0.0.1:7860 --users 20 --searches 5
"""

import argparse
import itertools
import json
import statistics
import threading
import time
import urllib.request
import uuid
from urllib.parse import urlparse

EDITS = (
    "in red",
    "in blue",
    "with long sleeves",
    "is longer",
    "in black, without the belt",
    "has a v-neck",
    "with pockets",
    "shorter and in green",
)
SECONDS = 60  # that a visitor waits for an answer


def visit(address: str, users: int = 20, searches: int = 3, method: str = "Pix2Key") -> list[tuple[float, str]]:
    """Every visitor searches so many times, one after the other. Gives (seconds, what the page told) of each search."""
    assert urlparse(address).hostname in ("127.0.0.1", "localhost"), f"{address} is not on this machine"
    with urllib.request.urlopen(f"{address}/config", timeout=SECONDS) as answer:
        config = json.load(answer)
    function = next(entry["id"] for entry in config["dependencies"] if entry["api_name"] == "search")
    found: list[tuple[float, str]] = []

    def one(user: int) -> None:
        for edit in itertools.islice(itertools.cycle(EDITS[user % len(EDITS) :] + EDITS[: user % len(EDITS)]), searches):
            start = time.perf_counter()
            try:
                line = _search(address, function, [None, edit, "", method, "none", 0, 1, 1, 1])
            except Exception as error:  # the caller counts them
                line = f"{type(error).__name__}: {error}"
            found.append((time.perf_counter() - start, line))

    threads = [threading.Thread(target=one, args=(user,)) for user in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _search(address: str, function: int, data: list[object]) -> str:
    session = uuid.uuid4().hex[:12]
    body = json.dumps({"data": data, "fn_index": function, "session_hash": session}).encode()
    asked = urllib.request.Request(f"{address}/gradio_api/queue/join", body, {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
        assert "event_id" in json.load(answer)
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=SECONDS) as events:
        for event in events:
            told = json.loads(event[6:]) if event.startswith(b"data: ") else {}
            if told.get("msg") == "process_completed":
                assert told["success"], told["output"]
                return told["output"]["data"][0]
    raise ConnectionError("the page ended the answer early")


def report(found: list[tuple[float, str]]) -> str:
    """Counts and times in one line."""
    spent = sorted(1000 * seconds for seconds, _ in found)
    wrong = sum("best of" not in line for _, line in found)
    last = spent[min(len(spent) - 1, int(0.95 * len(spent)))]
    times = f"median {statistics.median(spent):.0f} ms, 95 % below {last:.0f} ms, longest {spent[-1]:.0f} ms"
    return f"{len(found)} searches, {wrong} errors, {times}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--method", default="Pix2Key")
    args = parser.parse_args()
    print(report(visit(args.address, args.users, args.searches, args.method)))
