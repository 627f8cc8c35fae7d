"""What stands in front of the page: whom it answers to, how much it takes, and what the browser may fetch.

It refuses other host names on a loopback address (a web site could otherwise reach the page through a name of its own), bodies larger than
an upload may be, and Gradio's own ways to store files. It also tells the browser to fetch nothing from elsewhere.
"""

from collections.abc import Callable
from typing import Any

from cirlib.explore.uploads import MOST_BYTES

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BODY = 4 * MOST_BYTES // 3 + 2**20  # an upload in base64, and what goes with it
CLOSED = ("/gradio_api/upload", "/gradio_api/proxy=", "/gradio_api/file=", "/gradio_api/stream/")
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; frame-ancestors 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """An ASGI application in front of another one; see the module.

    Args:
        app: What is guarded.
        hosts: Host names that a request may carry; empty allows all.
    """

    def __init__(self, app: Callable, hosts: tuple[str, ...] = ()) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        """Pass a request on, or answer it with one line."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:  # the page has no web sockets
                await send({"type": "websocket.close"})
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")[0] or headers.get(b"host", b"").decode("latin-1")
        if self.hosts and host.strip("[]") not in self.hosts:
            await _refuse(send, 421, f"this page answers to {' and '.join(self.hosts)} only")
        elif scope["path"].startswith(CLOSED):
            await _refuse(send, 403, "this page stores no files")
        elif not headers.get(b"content-length", b"0").isdigit() or int(headers.get(b"content-length", b"0")) > MOST_BODY:
            await _refuse(send, 413, f"a request has at most {MOST_BODY // 2**20} MB")
        else:
            await self.app(scope, _limited(receive), _with_headers(send))


def _limited(receive: Callable) -> Callable:
    """The body of a request without a stated length is cut off at the limit: a cut body is no valid request any more."""
    seen = 0

    async def counted() -> dict[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= MOST_BODY else {"type": "http.disconnect"}

    return counted


def _with_headers(send: Callable) -> Callable:
    async def extended(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await send(message)

    return extended


async def _refuse(send: Callable, status: int, line: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{line}\n".encode()})
