"""`cirlib index FOLDER --out DIR`: make a folder of pictures searchable, or bring its index up to date."""

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cirlib.index import BuildReport

MINIATURE_NOTE = (
    "Note: this index uses the shipped miniature checkpoint, which knows drawn clothes only. For photographs, index with a public"
    " checkpoint: --clip {public}"
)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "index",
        help="make a folder of pictures searchable",
        description="Embed every picture below FOLDER into an index in DIR. Run again after a kill to go on, or later to add what is new.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of pictures, searched with its subfolders")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the index goes")
    parser.add_argument(
        "--clip", metavar="NAME-OR-FOLDER", help="OpenCLIP MODEL/TAG or a folder (default: the shipped miniature, for drawn clothes)"
    )
    parser.add_argument("--transform", default="clip", help="clip (centre crop, default), targetpad or squarepad")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")
    parser.add_argument("--precision", default="auto", help="auto (default: half precision on a GPU), fp32, bf16 or fp16")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures per forward pass (default 64)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read pictures (default 0: none beside this one)")


def run(args: argparse.Namespace) -> int:
    """Build or update the index and say what happened."""
    from accelerate import PartialState

    from cirlib.backbones.clip import load_clip
    from cirlib.backbones.clip_checkpoint import PUBLIC_CHECKPOINT
    from cirlib.backbones.miniature import miniature_path
    from cirlib.index import build_index, load_index
    from cirlib.types import InputError

    if args.batch_size < 1 or args.workers < 0:
        raise InputError(f"--batch-size is {args.batch_size} and --workers {args.workers}; give 1 or more, and 0 or more")
    clip = load_clip(args.clip or miniature_path("clip"), device=args.device, precision=args.precision)
    transform = clip.preset(args.transform)
    report = build_index(args.folder, args.out, clip, transform=transform, batch_size=args.batch_size, workers=args.workers)
    if PartialState().is_main_process:
        _tell(report, args.out)
        if load_index(args.out).metadata["miniature"]:
            print(MINIATURE_NOTE.format(public=PUBLIC_CHECKPOINT))
    return 0


def _tell(report: "BuildReport", out: str) -> None:
    if report.unreadable:
        print(f"{len(report.unreadable)} files could not be read and are not in the index:", file=sys.stderr)
        for item in report.unreadable:
            print(f"  {item.id}: {item.reason}", file=sys.stderr)
    if report.n_added or report.n_removed:
        print(f"{report.n_added} pictures added, {report.n_removed} removed, {report.n_encoded} encoded now.")
    else:
        print("Nothing has changed since the last time.")
    print(f'{report.n_pictures} pictures are in {out}. Search them: cirlib search {out} --image FILE --text "..."')
