"""The page behind one port: Gradio's application, the pictures, the maps, and a guard in front of all of them.

The guard refuses other host names on a loopback address (a web site could otherwise reach the page through a name of its own), bodies
larger than an upload may be, and Gradio's own ways to store files. It also tells the browser to fetch nothing from elsewhere.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Response

from cirlib.explore.drawing import draw_cloud
from cirlib.explore.page import Page, theme
from cirlib.explore.session import Explorer
from cirlib.explore.uploads import MOST_BYTES
from cirlib.types import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BODY = 4 * MOST_BYTES // 3 + 2**20  # an upload in base64, and what goes with it
CLOSED = ("/gradio_api/upload", "/gradio_api/proxy=", "/gradio_api/file=", "/gradio_api/stream/")
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; frame-ancestors 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
DAY = {"cache-control": "private, max-age=86400"}


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
            await self.app(scope, receive, send)
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


def build_app(explorer: Explorer, host: str = "127.0.0.1") -> Callable:
    """The whole page as one ASGI application.

    Args:
        explorer: What is searched.
        host: Address that the page will be bound to.
    """
    app = FastAPI(openapi_url=None)
    names = list(explorer.methods)

    @app.get("/pictures/{row}.jpg")
    def picture(row: int) -> Response:
        try:
            return Response(explorer.collection.thumbnail(row), media_type="image/jpeg", headers=DAY)
        except InputError as error:
            return Response(f"{error}\n", 404, media_type="text/plain")

    @cache
    def cloud(number: int) -> bytes:
        return draw_cloud(explorer.space(names[number]).places)

    @app.get("/maps/{number}.png")
    def map_(number: int) -> Response:
        if not 0 <= number < len(names):
            return Response(f"map {number} asked for; there are {len(names)}\n", 404, media_type="text/plain")
        return Response(cloud(number), media_type="image/png", headers=DAY)

    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    blocks = Page(explorer).build().queue(default_concurrency_limit=4, max_size=200)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        pwa=False,
        theme=theme(),
        css=style,
    )
    return Guard(app, LOOPBACK if host in LOOPBACK else ())


@contextmanager
def running(app: Callable, host: str, port: int) -> Iterator[str]:
    """Serve an application in a thread while the block lasts; gives the address.

    Args:
        app: ASGI application.
        host: Address to bind to.
        port: 0 takes any free one.

    Raises:
        InputError: If the address cannot be bound to.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen on {host}, port {port} ({reason}); give another --port, or 0 for any free one") from error
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=3))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.05)
        if not server.started:
            raise InputError(f"the page could not start on {host}; the lines above say why")
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


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
