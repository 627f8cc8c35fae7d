"""A world of dictionaries small enough to check by hand: pictures whose content is a dictionary, and an encoder that reads words."""

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace

import torch
from PIL import Image
from torch.nn.functional import normalize

from cirlib.methods.pix2key.dictionary import Dictionary, parse_dictionary
from cirlib.methods.pix2key.method import Pix2Key, Pix2KeyOptions
from cirlib.methods.pix2key.signed import Updates
from cirlib.types import Benchmark, BenchmarkProtocol, Change, Edit, Embeddings, ImageSet, Query

DIM = 24
CONTEXT = 60  # characters that the encoder reads


class WordEncoder:
    """Stands in for `ClipEncoder`: a text is the sum of a random vector per pair and word, a picture that of its id."""

    def __init__(self, context: int = CONTEXT) -> None:
        self.clip = SimpleNamespace(embedding_dim=DIM, too_long=lambda text: len(text) > context)

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.stack([normalize(sum(vector(word) for word in [*text.split(), *text.split("; "), "all"]), dim=0) for text in texts])

    def images(self, images: ImageSet) -> Embeddings:
        return Embeddings(images.ids, torch.stack([vector(f"picture {image_id}") for image_id in images.ids]))

    def references(self, queries: Sequence[Query], images: ImageSet) -> torch.Tensor:
        return torch.stack([vector(f"picture {query.reference}") for query in queries])


def vector(word: str) -> torch.Tensor:
    """A unit vector that belongs to a word."""
    seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
    return normalize(torch.randn(DIM, generator=torch.Generator().manual_seed(seed)), dim=0)


PICTURES = {
    "a": "category: dress; color: red; belt: yes",
    "b": "category: dress; color: blue; belt: yes",
    "c": "category: dress; color: blue",
    "d": "category: dress; color: blue; pattern: striped",
    "e": "category: skirt; color: blue; belt: yes",
    "f": "category: skirt; color: red",
    "g": "category: dress; color: blue",
    "h": "",
}
EDITS = {  # id: reference, text, updates, target, change
    "blue": ("a", "in blue", "color: blue", "", "b", Change("color", "set", "red", "blue", ("blue",))),
    "no belt": ("b", "without the belt", "", "belt: yes", "c", Change("belt", "remove", "yes", "no", ("no",))),
    "both": ("a", "in blue, no belt", "color: blue", "belt: yes", "g", Change("color", "set", "red", "blue", ("blue",))),
}


def images() -> ImageSet:
    return ImageSet(tuple(PICTURES), lambda image_id: Image.new("RGB", (4, 4)), lambda image_id: f"content of {PICTURES[image_id]}")


class Reader:
    """Writes the dictionary of a picture, and counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, pictures: ImageSet) -> list[Dictionary]:
        self.asked += pictures.ids
        return [parse_dictionary(PICTURES[image_id]).entries for image_id in pictures.ids]


class Parser:
    """Knows the edits above; another text asks for nothing."""

    name = "table"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def parse(self, texts: Sequence[str], references: Sequence[Dictionary]) -> list[Updates]:
        self.asked += texts
        known = {
            text: Updates(parse_dictionary(wants).entries, parse_dictionary(avoids).entries)
            for _, text, wants, avoids, *_ in EDITS.values()
        }
        return [known.get(text, Updates()) for text in texts]


def queries() -> tuple[Query, ...]:
    return tuple(Query(name, ref, text, (target,), edit=Edit((change,))) for name, (ref, text, _, _, target, change) in EDITS.items())


def benchmark(split: str = "val", exclude_reference: bool = True) -> Benchmark:
    labels = {
        i: {e.key: e.value for e in parse_dictionary(text).entries} | {"belt": "yes" if "belt" in text else "no"}
        for i, text in PICTURES.items()
    }
    protocol = BenchmarkProtocol(exclude_reference, (1, 2, 3, 5))
    return Benchmark("world", split, queries(), images(), images(), protocol, labels=labels)


def method(context: int = CONTEXT, **options) -> Pix2Key:
    return Pix2Key(WordEncoder(context), Reader(), Parser(), Pix2KeyOptions(**options))
