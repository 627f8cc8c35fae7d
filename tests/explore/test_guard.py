"""The guard in front of the page, without a server."""

import asyncio

import pytest

from cirlib.explore.guard import LOOPBACK, MOST_BODY, Guard


async def inner(scope, receive, send):
    """Reads the whole body and says how long it was."""
    seen, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        seen, more = seen + len(message["body"]), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(seen).encode()})


def ask(path="/", host="127.0.0.1:7860", hosts=LOOPBACK, chunks=(b"",), kind="http", **headers):
    parts = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    parts[-1]["more_body"] = False
    sent, given = [], [(b"host", host.encode())] + [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(inner, hosts)({"type": kind, "path": path, "headers": given}, receive, send))
    return sent


def status(*args, **kwargs):
    return ask(*args, **kwargs)[0]["status"]


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "127.0.0.1", "localhost:1", "[::1]:7860"])
def test_loopback_names_pass(host):
    sent = ask(host=host, chunks=(b"abc", b"de"))
    assert sent[0]["status"] == 200 and sent[1]["body"] == b"5"
    assert b"connect-src 'self'" in dict(sent[0]["headers"])[b"content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "", "0.0.0.0:7860"])
def test_other_names_do_not(host):
    sent = ask(host=host)
    assert sent[0]["status"] == 421 and sent[1]["body"].count(b"\n") == 1
    assert status(host=host, hosts=()) == 200, "a page for others answers to every name"


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/gradio_api/proxy=https://evil.example"])
def test_ways_to_store_or_fetch_files_are_closed(path):
    assert status(path) == 403


def test_bodies_are_limited():
    assert status(content_length=str(MOST_BODY)) == 200
    assert status(content_length=str(MOST_BODY + 1)) == 413
    assert status(content_length="-1") == 413 and status(content_length="many") == 413
    part = bytes(2**20)
    with pytest.raises(ConnectionError):
        ask(chunks=[part] * (MOST_BODY // len(part) + 2))


def test_web_sockets_are_closed():
    assert ask(kind="websocket") == [{"type": "websocket.close"}]
