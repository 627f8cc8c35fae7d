"""The gallery and the methods of `cirlib explore --index`: one's own pictures, searched by what fits the CLIP that made the index."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cirlib.backbones.clip_checkpoint import PUBLIC_CHECKPOINT
from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.vlm import load_vlm
from cirlib.commands._pix2key_search import MINIATURE_OPTIONS, PUBLIC_VLM
from cirlib.commands.index import MINIATURE_NOTE
from cirlib.commands.search import load_clip_of
from cirlib.config import Config
from cirlib.explore.catalogue import NOT_HERE, Catalogue, suite_catalogue
from cirlib.explore.collection import Collection
from cirlib.index import Index, load_index
from cirlib.methods.baselines import ImageOnly, TextOnly, WeightedSum
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pix2key.extraction import DictionaryExtractor
from cirlib.methods.pix2key.method import Pix2Key, Pix2KeyOptions
from cirlib.methods.pix2key.rule_parser import RuleParser
from cirlib.suite import Suite
from cirlib.types import ImageSet, InputError, Method

SAME_CLIP = ("checkpoint", "config", "transform")


def open_index(args: argparse.Namespace, config: Config) -> tuple[Collection, Catalogue]:
    """The pictures of `--index`, and the methods that can search them.

    Raises:
        InputError: If there is no such index, its checkpoint is not to be had, or a method of `--methods` is not offered.
    """
    index = load_index(args.index)
    clip = load_clip_of(index, args.clip, args.device)
    encoder = ClipEncoder(clip, clip.preset(index.metadata["transform"]), progress=False)
    return index_collection(index), index_catalogue(index, encoder, config, args.device, args.vlm, args.methods)


def index_collection(index: Index) -> Collection:
    """The pictures of an index, with the content hashes and rows that it holds: a file is opened only to be shown.

    Raises:
        InputError: If the index holds fewer than 3 pictures.
    """
    if len(index) < 3:
        raise InputError(f"{index.folder} holds {len(index)} pictures; a gallery to explore needs 3 or more")
    known = dict(zip(index.ids, index.hashes, strict=True))
    opener = index.images().opener
    note = MINIATURE_NOTE.format(public=PUBLIC_CHECKPOINT) if index.metadata["miniature"] else ""
    name = f"{Path(index.metadata['root']).name}, {len(index):,} pictures"
    return Collection(name, ImageSet(index.ids, opener, known.__getitem__), opener, note, plain=index.embeddings)


def index_catalogue(
    index: Index, encoder: ClipEncoder, config: Config, device: str, vlm: str | None, only: Sequence[str] = ()
) -> Catalogue:
    """The methods that can search an index of one's own pictures.

    Methods that were trained belong to the CLIP of their profile, and are offered where the index was made by that CLIP; else there are
    image only, text only, sum, and with a vision-language model Pix2Key.

    Args:
        index: What is searched.
        encoder: Over the checkpoint that made it.
        config: Of the profile.
        device: For models that are loaded here.
        vlm: Model that reads the pictures for Pix2Key; without one it is the shipped miniature, for an index of the miniature CLIP alone.
        only: Names to keep; empty keeps all.

    Raises:
        InputError: If a name of `only` is not offered.
    """
    suite = Suite(config, device=device)
    if vlm is None and all(suite.encoder.fingerprint[key] == encoder.fingerprint[key] for key in SAME_CLIP):
        return suite_catalogue(suite, only)
    methods: dict[str, Method] = {"image only": ImageOnly(encoder), "text only": TextOnly(encoder), "sum": WeightedSum(encoder)}
    missing = {}
    if vlm is not None or index.metadata["miniature"]:
        options = Pix2KeyOptions(**(MINIATURE_OPTIONS if index.metadata["miniature"] else {}))
        writer = DictionaryExtractor(load_vlm(vlm or miniature_path("vlm"), device=device), progress=False)
        methods["Pix2Key"] = Pix2Key(encoder, writer, RuleParser(), options, "Pix2Key")
    else:
        missing["Pix2Key"] = f"Pix2Key needs a vision-language model that knows photographs: --vlm {PUBLIC_VLM}"
    missing |= {
        name: f"{name} was trained on the CLIP of profile {config.name}, and another one made this index"
        for name in suite.names
        if name not in methods and name not in missing and name not in NOT_HERE
    }
    for name in only:
        if name not in methods:
            raise InputError(missing.get(name) or f"method {name!r} is not known; choose among {', '.join(methods)}")
    return Catalogue({name: method for name, method in methods.items() if not only or name in only}, missing)
