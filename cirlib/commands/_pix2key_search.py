"""The search of `cirlib search --method pix2key`: dictionaries of the indexed pictures against a signed query, every result explained."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cirlib.types import ImageSet, InputError, Query

if TYPE_CHECKING:
    from cirlib.backbones.clip import Clip
    from cirlib.commands.search import Found
    from cirlib.index import Index
    from cirlib.methods.pix2key.dictionary import Dictionary
    from cirlib.methods.pix2key.method import Pix2Key
    from cirlib.methods.pix2key.signed import EditParser, Updates

PUBLIC_VLM = "Qwen/Qwen2.5-VL-3B-Instruct"
VLM_NOTE = (
    "Note: dictionaries come from the shipped miniature model, which knows drawn clothes only. For photographs, name a public one:"
    " --vlm {public}"
)
# For the miniature CLIP, tuned on atelier's val split; it learnt to read pairs that commas part. Other checkpoints have the defaults.
MINIATURE_OPTIONS = {"alpha": 0.5, "beta": 1.2, "separator": ", "}


def search_dictionaries(args: argparse.Namespace, index: "Index", clip: "Clip", exclude: Sequence[int]) -> "Found":
    """The k best pictures by Pix2Key, with an explanation each.

    The first search of an index writes a dictionary for every picture, with progress; they are kept by content, so that later searches and
    an interrupted first one go on from there. Scores are the relevance R of the terms shown.

    Raises:
        InputError: If the model cannot be loaded, a picture cannot be read, or nothing of --without can be understood.
    """
    import torch

    from cirlib.commands.search import Found
    from cirlib.kernels.search import search
    from cirlib.methods.pix2key.explanation import explain

    available = len(index) - len(exclude)
    if not 1 <= args.k <= available:
        raise InputError(f"k is {args.k} and {available} pictures can be returned; give a k from 1 to {available}")
    method, notes = _build(args, index, clip)
    gallery, references = _pictures(index), _reference(args.image)
    query = Query("search", args.image, args.text)
    composed = method.compose([query], references)  # before the gallery: what cannot be understood is told at once
    if not method.parser.understood:
        notes.append(f"Note: the parser ({method.parser.name}) read no change in the text; results keep what the reference shows.")
    rows = method.encode_gallery(gallery)
    found = search(composed.rows, rows.rows, min(max(method.pool_size, args.k), available), torch.tensor([[*exclude] or [-1]]))
    best = found.rows[0, method.rerank([query], found.rows, found.scores, rows)[0]][: args.k].tolist()
    explanations = explain(method, query, references, [index.ids[row] for row in best], gallery)
    reader = f"Dictionaries: {Path(args.vlm).name if args.vlm else 'shipped miniature model'}, text read by {method.parser.name}"
    return Found(best, [item.score for item in explanations], explanations, reader, notes)


def _build(args: argparse.Namespace, index: "Index", clip: "Clip") -> "tuple[Pix2Key, list[str]]":
    """The method over the index's checkpoint and the model of --vlm, and what a reader should know of them."""
    from cirlib.backbones.miniature import miniature_path
    from cirlib.backbones.vlm import load_vlm
    from cirlib.methods.clip_encoder import ClipEncoder
    from cirlib.methods.pix2key.extraction import DictionaryExtractor
    from cirlib.methods.pix2key.method import Pix2Key, Pix2KeyOptions
    from cirlib.methods.pix2key.model_parser import ModelParser
    from cirlib.methods.pix2key.rule_parser import RuleParser

    vlm = load_vlm(args.vlm or miniature_path("vlm"), device=args.device)
    parser = ModelParser(vlm) if args.parser == "model" else RuleParser()
    tuned = MINIATURE_OPTIONS if index.metadata["miniature"] else {}
    options = Pix2KeyOptions(diversity=args.diversity, select=max(args.k, Pix2KeyOptions.select), **tuned)
    encoder = ClipEncoder(clip, clip.preset(index.metadata["transform"]))
    method = Pix2Key(encoder, DictionaryExtractor(vlm), _WithAvoids(parser, args.without), options)
    photographs = not args.vlm and not index.metadata["miniature"]
    return method, [VLM_NOTE.format(public=PUBLIC_VLM)] if photographs else []


@dataclass
class _WithAvoids:
    """A parser that also reads --without. `understood` tells whether the text itself asked for anything."""

    parser: "EditParser"
    without: str | None
    understood: bool = True

    @property
    def name(self) -> str:
        """Name of the parser."""
        return self.parser.name

    def parse(self, texts: Sequence[str], references: "Sequence[Dictionary]") -> "list[Updates]":
        """Updates of each text, with the avoids of --without joined."""
        from cirlib.methods.pix2key.signed import Updates

        updates = self.parser.parse(texts, references)
        self.understood = all(map(bool, updates))
        if not self.without:
            return updates
        unwanted = self.parser.parse([f"without {self.without}"] * len(texts), references)
        if not all(other.avoids for other in unwanted):
            raise InputError(f"--without {self.without!r} names nothing that the parser ({self.name}) knows; say it in other words")
        return [Updates(asked.wants, asked.avoids + other.avoids, asked.open) for asked, other in zip(updates, unwanted, strict=True)]


def _pictures(index: "Index") -> ImageSet:
    """The indexed pictures with the content hashes that the index holds: a file is opened only if its dictionary is missing."""
    known = dict(zip(index.ids, index.hashes, strict=True))
    return ImageSet(index.ids, index.images().opener, known.__getitem__)


def _reference(path: str) -> ImageSet:
    from cirlib.data.files import picture_set

    return picture_set([path], Path)
