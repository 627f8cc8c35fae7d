"""`cirlib explore`: a local web page to search with, picture and sentence, method beside method."""

import argparse
import contextlib
import gc
import importlib.util
import threading
from typing import TYPE_CHECKING

from cirlib._input_error import InputError

if TYPE_CHECKING:
    from cirlib.explore.session import Explorer

PICTURES = 5000
PORT = 7860


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "explore",
        help="open a page to search with, on this machine",
        description="Start a web page on this machine: pick or upload a picture, say what to change, and see what the methods find and why."
        " Without --index it searches drawn garments (atelier). Uploads stay in memory; nothing is fetched from or sent to anywhere else.",
    )
    parser.add_argument("--index", metavar="DIR", help="search an index made by `cirlib index` instead of atelier")
    parser.add_argument("--profile", default="mini", help="whose tuned numbers and trained methods (default mini)")
    parser.add_argument("--pictures", type=int, metavar="N", help=f"atelier: how many garments (default {PICTURES})")
    parser.add_argument("--methods", nargs="+", metavar="NAME", default=(), help="only these methods (default: all that are available)")
    parser.add_argument("--clip", metavar="NAME-OR-FOLDER", help="--index: where its checkpoint lies now, if it has moved")
    parser.add_argument("--vlm", metavar="NAME-OR-FOLDER", help="--index: vision-language model that reads the pictures for Pix2Key")
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0 takes any free one")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="default 127.0.0.1, this machine alone; any other lets others in",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, ...")


def run(args: argparse.Namespace) -> int:
    """Prepare the gallery for every method, then serve the page until Ctrl-C."""
    _check(args)
    from cirlib.explore.guard import LOOPBACK
    from cirlib.explore.server import build_app, listen, running

    with contextlib.closing(listen(args.host, args.port)) as listener:
        explorer = _explorer(args)
        if explorer.unavailable:
            print(f"Not available, and the page says what to run for each: {', '.join(explorer.unavailable)}.")
        explorer.prepare(lambda line: print(line, flush=True))
        gc.collect()
        gc.freeze()  # what is loaded now stays; walking it at every full collection would stop a search for half a second now and then
        with running(build_app(explorer, args.host), listener) as address:
            if args.host not in LOOPBACK:
                print(f"Anyone who reaches {address} over the network can search and see these pictures: there is no login.")
            print(f"The page is at {address} (Ctrl-C ends it).", flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print("\nThe page is closed; nothing of its visitors was kept.")
    return 0


def _check(args: argparse.Namespace) -> None:
    if importlib.util.find_spec("gradio") is None:
        raise InputError("the page needs Gradio, which is not installed; run pip install 'cirlib[explore]', or make setup in the checkout")
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port is {args.port}; give a number from 1 to 65535, or 0 for any free one")
    if args.index is not None and args.pictures is not None:
        raise InputError("--pictures given with --index; an index is searched whole, leave --pictures out")
    given = {"--clip": args.clip, "--vlm": args.vlm}
    if args.index is None and (wrong := [name for name, value in given.items() if value is not None]):
        raise InputError(f"{wrong[0]} given without --index; the models of atelier are those of --profile, leave it out")


def _explorer(args: argparse.Namespace) -> "Explorer":
    from cirlib.config import load_config
    from cirlib.explore.session import Explorer

    config = load_config(args.profile)
    if args.index is not None:
        from cirlib.commands._explore_index import open_index

        collection, catalogue = open_index(args, config)
    else:
        from cirlib.explore.catalogue import suite_catalogue
        from cirlib.explore.collection import atelier_collection
        from cirlib.suite import Suite

        collection = atelier_collection(PICTURES if args.pictures is None else args.pictures)
        catalogue = suite_catalogue(Suite(config, device=args.device), args.methods)
    return Explorer(collection, catalogue.methods, catalogue.unavailable)
