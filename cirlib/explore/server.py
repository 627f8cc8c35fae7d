"""The page behind one port: Gradio's application, the pictures, the maps, and the guard in front of all of them."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI, Response

from cirlib.explore.drawing import draw_cloud
from cirlib.explore.guard import LOOPBACK, Guard
from cirlib.explore.page import Page, theme
from cirlib.explore.session import Explorer
from cirlib.types import InputError

DAY = {"cache-control": "private, max-age=86400"}


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


def listen(host: str, port: int) -> socket.socket:
    """Take an address; 0 takes any free port. Before a long preparation, so that a port that is taken is told at once.

    Raises:
        InputError: If the address cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # two listeners may bind to one port, but only one of them listens
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen on {host}, port {port} ({reason}); give another --port, or 0 for any free one") from error
    return listener


@contextmanager
def running(app: Callable, listener: socket.socket) -> Iterator[str]:
    """Serve an application in a thread while the block lasts; gives the address.

    Args:
        app: ASGI application.
        listener: From `listen`; closed at the end.

    Raises:
        InputError: If the application does not start.
    """
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=3))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.05)
        if not server.started:
            raise InputError("the page could not start; the lines above say why")
        host, port = listener.getsockname()[:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
