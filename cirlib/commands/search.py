"""`cirlib search DIR --image FILE --text "..."`: find pictures in an index by a picture, a sentence, or both."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cirlib._input_error import InputError
from cirlib.commands._map_to_compose_search import check_map_to_compose
from cirlib.commands.index import MINIATURE_NOTE

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from cirlib.backbones.clip import Clip
    from cirlib.data.transforms import ImageTransform
    from cirlib.index import Index
    from cirlib.methods.pix2key.explanation import Explanation

WEIGHT = 0.5  # of the picture against the text, unless --weight says otherwise (our choice)
WITHOUT_WEIGHT = 0.5  # share of the --without sentence that is taken away (our choice)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "search",
        help="find pictures in an index by a picture, a sentence, or both",
        description="Search an index with unit(W * image + (1 - W) * text), less half of the unwanted sentence, all of unit length. With"
        " --method pix2key: by what a vision-language model says of each picture, wants, anchors and avoids against dictionaries. With"
        " --method map-to-compose: the picture becomes a word in the sentence of the text, as a trained method does it.",
    )
    parser.add_argument("index", metavar="DIR", help="an index made by `cirlib index`")
    parser.add_argument("--image", metavar="FILE", help="reference picture")
    parser.add_argument("--text", metavar="TEXT", help='what to change or to look for: "in red, with long sleeves"')
    parser.add_argument("--without", metavar="TEXT", help='what the results should not show: "a belt"')
    parser.add_argument("-k", type=int, default=10, help="how many results (default 10)")
    parser.add_argument("--html", metavar="FILE", help="also write the results as one self-contained page")
    parser.add_argument(
        "--method",
        choices=("sum", "pix2key", "map-to-compose"),
        default="sum",
        help="sum of picture and text (default), dictionaries, or a trained pseudo-word",
    )
    parser.add_argument("--weight", type=float, metavar="W", help=f"sum: weight of the picture against the text, 0 to 1 (default {WEIGHT})")
    parser.add_argument("--explain", action="store_true", help="pix2key: print what each result meets, violates or does not state")
    parser.add_argument(
        "--vlm", metavar="NAME-OR-FOLDER", help="pix2key: vision-language model that reads pictures (default: the shipped miniature)"
    )
    parser.add_argument("--parser", choices=("rules", "model"), help="pix2key: what reads the text, rules (default) or the model of --vlm")
    parser.add_argument("--trained", metavar="FOLDER", help="map-to-compose: a trained method, as notebooks 07 and 08 save it")
    parser.add_argument("--diversity", type=float, metavar="L", help="pix2key: variety against relevance, 0 (default) to 1")
    parser.add_argument(
        "--exclude-self",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave the reference picture out of the results (default)",
    )
    parser.add_argument("--clip", metavar="NAME-OR-FOLDER", help="where the index's checkpoint lies now, if it has moved")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, ...")


def run(args: argparse.Namespace) -> int:
    """Search and print rank, score and path."""
    _check_words(args)
    from cirlib.backbones.clip_checkpoint import PUBLIC_CHECKPOINT
    from cirlib.data.files import read_picture
    from cirlib.index import load_index

    index = load_index(args.index)
    image = read_picture(args.image) if args.image else None
    clip = load_clip_of(index, args.clip, args.device)
    exclude = _copies(index, args.image) if args.image and args.exclude_self else []
    note = MINIATURE_NOTE.format(public=PUBLIC_CHECKPOINT) if index.metadata["miniature"] else ""
    if args.method == "pix2key":
        from cirlib.commands._pix2key_search import search_dictionaries

        found = search_dictionaries(args, index, clip, exclude)
    elif args.method == "map-to-compose":
        from cirlib.commands._map_to_compose_search import search_composed

        found = search_composed(args, index, clip, exclude)
    else:
        query = compose_query(clip, image, args.text, args.without, args.weight, clip.preset(index.metadata["transform"]))
        scores, rows = (part[0].tolist() for part in index.search(query[None], args.k, exclude=exclude))
        found = Found(rows, scores)
    notes = [*found.notes, note] if note else found.notes
    _print(args, index, found, exclude, notes)
    if args.html:
        _write_page(args, index, image, found, " ".join(notes))
        print(f"Page written to {args.html}")
    return 0


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        rows: Gallery rows, best first.
        scores: Their scores.
        explanations: One per row where the method has them.
        reader: What read pictures and text, in words; empty where nothing but the encoder did.
        notes: Warnings for the reader.
    """

    rows: Sequence[int]
    scores: Sequence[float]
    explanations: "Sequence[Explanation]" = ()
    reader: str = ""
    notes: Sequence[str] = ()


def _print(args: argparse.Namespace, index: "Index", found: Found, exclude: Sequence[int], notes: Sequence[str]) -> None:
    print("rank  score   picture")
    for rank, (score, row) in enumerate(zip(found.scores, found.rows, strict=True), start=1):
        print(f"{rank:4}  {score:.4f}  {index.path(row)}")
        if args.explain:
            print("\n".join(f"      {line}" for line in found.explanations[rank - 1].lines()))
    if exclude:
        print(f"The reference picture is in the index and was left out ({index.ids[exclude[0]]}); --no-exclude-self keeps it.")
    for note in notes:
        print(note)


def compose_query(
    clip: "Clip", image: "Image.Image | None", text: str | None, without: str | None, weight: float, transform: "ImageTransform"
) -> "Tensor":
    """One unit query row (d,): `unit(unit(weight * image + (1 - weight) * text) - 0.5 * without)`, each part of unit length first.

    With only a picture or only a text, `weight` plays no part. The signed sum is our choice; it is the simplest composition there is.
    """
    from torch.nn.functional import normalize

    parts = []
    if image is not None:
        parts.append((weight if text else 1.0) * normalize(clip.encode_images([image], transform=transform)[0], dim=0))
    if text:
        parts.append((1 - weight if image is not None else 1.0) * normalize(clip.encode_texts([text])[0], dim=0))
    query = normalize(sum(parts), dim=0)
    if without:
        query = normalize(query - WITHOUT_WEIGHT * normalize(clip.encode_texts([without])[0], dim=0), dim=0)
    return query


def _check_words(args: argparse.Namespace) -> None:
    for name in ("text", "without"):
        words = getattr(args, name)
        if words is not None and not words.strip():
            raise InputError(f"--{name} is empty; give words, or leave --{name} out")
    if args.image is None and args.text is None:
        raise InputError("there is nothing to search for; give --image FILE, --text TEXT, or both")
    _check_options(args)
    if args.method == "pix2key":
        _check_pix2key(args)
    elif args.method == "map-to-compose":
        check_map_to_compose(args)
    else:
        args.weight = WEIGHT if args.weight is None else args.weight
        if not 0 <= args.weight <= 1:
            raise InputError(f"--weight is {args.weight:g}; give a number from 0 (text alone) to 1 (picture alone)")


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that only another method has."""
    given = {
        "pix2key": {"--explain": args.explain, "--vlm": args.vlm, "--parser": args.parser, "--diversity": args.diversity is not None},
        "map-to-compose": {"--trained": args.trained},
    }
    for method, options in given.items():
        if method != args.method and (wrong := [name for name, there in options.items() if there]):
            raise InputError(
                f"{', '.join(wrong)} given without --method {method}, the only method that has it; add it, or leave {wrong[0]} out"
            )


def _check_pix2key(args: argparse.Namespace) -> None:
    if args.image is None or args.text is None:
        missing = "--image FILE" if args.image is None else "--text TEXT"
        raise InputError(f"--method pix2key needs a picture and what to change on it; {missing} is missing, add it or use --method sum")
    if args.weight is not None:
        raise InputError(f"--weight is {args.weight:g} and --method pix2key has no such weight; leave it out, or use --method sum")
    args.diversity = 0.0 if args.diversity is None else args.diversity
    if not 0 <= args.diversity <= 1:
        raise InputError(f"--diversity is {args.diversity:g}; give a number from 0 (relevance alone) to 1")
    args.parser = args.parser or "rules"


def load_clip_of(index: "Index", moved_to: str | None, device: str) -> "Clip":
    """The checkpoint that made the index, and no other."""
    from cirlib.backbones.clip import load_clip
    from cirlib.backbones.miniature import miniature_path

    made_with = miniature_path("clip") if index.metadata["miniature"] else index.metadata["clip"]
    clip = load_clip(moved_to or made_with, device=device)
    wanted, got = index.metadata["fingerprint"], clip.fingerprint(clip.preset(index.metadata["transform"]))
    if any(wanted[key] != got[key] for key in ("checkpoint", "config", "transform")):
        hashes = f"sha256 {wanted['checkpoint'][:12]}..., not {got['checkpoint'][:12]}..."
        raise InputError(
            f"{index.folder} was made by another checkpoint than {clip.name} ({hashes}); give --clip, or index the folder anew"
        )
    return clip


def _copies(index: "Index", path: str) -> list[int]:
    """Rows that show the very file."""
    from cirlib.data.files import picture_set

    content = picture_set([path], Path).content_hash(path)
    return [row for row, other in enumerate(index.hashes) if other == content]


def _write_page(args: argparse.Namespace, index: "Index", image: "Image.Image | None", found: Found, note: str) -> None:
    from cirlib.viz.search_page import Hit, SearchPage, write_search_page

    pictures = index.images()
    made_with = index.metadata["clip"]
    name = "shipped miniature CLIP" if index.metadata["miniature"] else Path(made_with).name if Path(made_with).is_absolute() else made_with
    explanations = found.explanations or [None] * len(found.rows)
    results = zip(found.rows, found.scores, explanations, strict=True)
    page = SearchPage(
        image=image,
        image_name=Path(args.image).name if args.image else "",
        text=args.text or "",
        without=args.without or "",
        weight=args.weight,
        hits=[Hit(pictures.open(index.ids[row]), index.ids[row], score, explanation) for row, score, explanation in results],
        checkpoint=name,
        n_pictures=len(index),
        note=note,
        reader=found.reader,
    )
    write_search_page(args.html, page)
