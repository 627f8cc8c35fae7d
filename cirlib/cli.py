"""The `cirlib` command. Each subcommand is one file in `cirlib.commands`; bad input ends in one line and exit code 2."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from cirlib import __version__
from cirlib._input_error import InputError

COMMANDS = ("check", "data", "index", "search", "explore", "score", "submit", "bench")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, one subparser per command."""
    parser = argparse.ArgumentParser(prog="cirlib", description="Composed image retrieval: a picture and a sentence find pictures.")
    parser.add_argument("--version", action="version", version=f"cirlib {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"cirlib.commands.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, or 2 after one line on stderr when the input cannot be used."""
    args = build_parser().parse_args(argv)
    try:
        return importlib.import_module(f"cirlib.commands.{args.command}").run(args) or 0
    except InputError as error:
        print(f"cirlib {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"cirlib {args.command}: interrupted; what was finished is kept, run the same command again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
