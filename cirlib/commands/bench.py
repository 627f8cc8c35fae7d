"""`cirlib bench NAME`: every speed claim of the project, with its baseline in the same run. NAME is a file of `cirlib.bench`."""

import argparse
import importlib

BENCHES = ("ranking", "search", "slots", "ranks", "midzone", "mmr", "contrastive", "gpu")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare one subcommand per benchmark."""
    parser = subparsers.add_parser("bench", help="measure time and memory beside a baseline")
    names = parser.add_subparsers(dest="bench", required=True, metavar="NAME")
    for name in BENCHES:
        module = importlib.import_module(f"cirlib.bench.{name}")
        summary = (module.__doc__ or "").split("\n\n")[0]
        module.add_arguments(
            names.add_parser(name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        )


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark."""
    importlib.import_module(f"cirlib.bench.{args.bench}").run(args)
    return 0
