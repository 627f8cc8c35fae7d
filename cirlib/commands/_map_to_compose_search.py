"""The search of `cirlib search --method map-to-compose`: a trained method composes the query, the index is ranked as it is."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cirlib._input_error import InputError

if TYPE_CHECKING:
    from cirlib.backbones.clip import Clip
    from cirlib.commands.search import Found
    from cirlib.index import Index


def check_map_to_compose(args: argparse.Namespace) -> None:
    """Refuse what this method cannot use.

    Raises:
        InputError: If picture, text or trained method are missing, or --weight or --without is given.
    """
    needed = {"--image FILE": args.image, "--text TEXT": args.text, "--trained FOLDER": args.trained}
    if missing := [name for name, value in needed.items() if value is None]:
        raise InputError(f"--method map-to-compose needs a picture, a text and a trained method; {missing[0]} is missing, add it")
    unknown = {"--weight": args.weight, "--without": args.without}
    if wrong := [name for name, value in unknown.items() if value is not None]:
        raise InputError(f"{wrong[0]} given and --method map-to-compose has no such part; leave it out, or use --method sum")


def search_composed(args: argparse.Namespace, index: "Index", clip: "Clip", exclude: Sequence[int]) -> "Found":
    """The k best pictures for the sentence that the trained method makes of picture and text. Gallery rows are those of the index.

    Raises:
        InputError: If the folder of --trained holds no method, or one of another CLIP than the index.
    """
    from cirlib.commands.search import Found
    from cirlib.data.files import picture_set
    from cirlib.methods.clip_encoder import ClipEncoder
    from cirlib.methods.map_to_compose.storage import load_map_to_compose
    from cirlib.types import Query

    method = load_map_to_compose(args.trained, ClipEncoder(clip, clip.preset(index.metadata["transform"]), progress=False))
    query = method.compose([Query("search", args.image, args.text)], picture_set([args.image], Path))
    scores, rows = (part[0].tolist() for part in index.search(query.rows, args.k, exclude=exclude))
    return Found(rows, scores, reader=f'{method.name}: "{method.template}"')
