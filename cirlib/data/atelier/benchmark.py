"""Atelier as a benchmark: queries between siblings, complete positives, look-alike subsets."""

import hashlib
from functools import lru_cache

import numpy as np
from PIL import Image

from cirlib.data.atelier.draw import SIZE
from cirlib.data.atelier.edits import build_edit, caption_pair
from cirlib.data.atelier.render import SHARD, shard_pixels
from cirlib.data.atelier.schema import VERSION, held_out_pair
from cirlib.data.atelier.splits import FAMILY, Picture, check_split, generator, picture
from cirlib.data.atelier.truth import find_positives, value_codes
from cirlib.types import Benchmark, BenchmarkProtocol, ImageSet, InputError, Query

SUBSET = 6  # look-alikes of one family that R_subset ranks, the target among them
CAPTION_JOIN = "both captions, joined by ' and '"


def load_pictures(split: str, count: int, size: int = SIZE) -> ImageSet:
    """The first `count` pictures of a split, drawn when first opened and cached on disk.

    Args:
        split: "pretrain", "train", "val", "test" or "test-compositional".
        count: Number of pictures, 1 or more.
        size: Pixels a side.

    Raises:
        InputError: If the split does not exist or the count is below 1.
    """
    check_split(split)
    if count < 1:
        raise InputError(f"{count} pictures of atelier asked for; ask for 1 or more")

    def pixels(image_id: str) -> np.ndarray:
        index = int(image_id.rsplit("-", 1)[1])
        return _shard(split, index // SHARD, size)[index % SHARD]

    return ImageSet(
        ids=tuple(f"{split}-{index:06d}" for index in range(count)),
        opener=lambda image_id: Image.fromarray(np.asarray(pixels(image_id))),
        hasher=lambda image_id: hashlib.sha256(np.ascontiguousarray(pixels(image_id))).hexdigest(),
    )


@lru_cache(maxsize=512)
def _shard(split: str, number: int, size: int) -> np.ndarray:
    return shard_pixels(split, number, size)


def load_atelier(split: str = "test", pictures: int = 2560, queries: int = 1000, *, size: int = SIZE) -> Benchmark:
    """Atelier's composed retrieval task on the first `pictures` of a split.

    A query takes two members of a family; the edit leads from one to the other. Its positives are all pictures of the gallery that satisfy
    the edit and keep everything else, found by comparing attributes with the whole gallery: complete and exact. The reference never
    satisfies its own edit and is removed from the ranking. Queries of `test-compositional` have a target that shows an attribute pair which
    no other split ever shows.

    Args:
        split: "train", "val", "test" or "test-compositional".
        pictures: Gallery size, a multiple of the family size (64).
        queries: Number of queries, spread evenly over the families; where one gives too few, the next makes up for it.
        size: Pixels a side.

    Raises:
        InputError: If the split has no families, the sizes do not fit, or the families cannot give that many queries.
    """
    check_split(split)
    if split == "pretrain":
        raise InputError("atelier's pretrain split has pictures and captions but no queries; use train, val, test or test-compositional")
    if pictures < FAMILY or pictures % FAMILY:
        raise InputError(f"{pictures} pictures of atelier asked for; families have {FAMILY}, so ask for a multiple of {FAMILY}")
    known = [picture(split, index) for index in range(pictures)]
    codes = value_codes([p.design for p in known])
    families = pictures // FAMILY
    due = np.linspace(0, queries, families + 1).round().astype(int)  # after each family; one that gives too few is made up by the next
    found: list[Query] = []
    for family in range(families):
        found += _family_queries(split, family, int(due[family + 1]) - len(found), known, codes)
    if len(found) < queries:
        raise InputError(
            f"{queries} queries asked for, but {pictures} pictures of atelier {split} give only {len(found)}; ask for fewer or add pictures"
        )
    gallery = load_pictures(split, pictures, size)
    protocol = BenchmarkProtocol(
        exclude_reference=True,
        recall_at=(1, 5, 10, 50),
        map_at=(5, 10, 25, 50),
        subset_at=(1, 2, 3),
        gallery=f"first {pictures} pictures of {split}",
        caption_join=CAPTION_JOIN,
    )
    labels = {p.id: dict(p.design) for p in known}
    return Benchmark("atelier", split, tuple(found), gallery, gallery, protocol, labels, version=VERSION)


def _family_queries(split: str, family: int, wanted: int, known: list[Picture], codes: np.ndarray) -> list[Query]:
    """Up to `wanted` queries between members of one family."""
    rng = generator(split, family, 2)
    members = range(family * FAMILY, (family + 1) * FAMILY)
    pairs = [(a, b) for a in members for b in members if a != b]
    queries: list[Query] = []
    for place in rng.permutation(len(pairs)):
        if len(queries) == wanted:
            break
        query = _query(rng, f"{split}-{family:04d}-{len(queries):02d}", pairs[int(place)], members, known, codes)
        if query is not None:
            queries.append(query)
    return queries


def _query(
    rng: np.random.Generator, query_id: str, pair: tuple[int, int], members: range, known: list[Picture], codes: np.ndarray
) -> Query | None:
    """The query that leads from one picture to another, or None where no edit does or look-alikes are too few."""
    before, after = (known[index] for index in pair)
    if before.id.startswith("test-compositional") and held_out_pair(after.design) is None:
        return None
    edit = build_edit(rng, before.design, after.design)
    if edit is None:
        return None
    correct = find_positives(edit, codes[pair[0]], codes)
    others = [known[i].id for i in members if i not in pair and not correct[i]]
    if len(others) < SUBSET - 1:
        return None
    captions = caption_pair(rng, edit, before.design)
    positives = (after.id, *(known[i].id for i in np.flatnonzero(correct) if i != pair[1]))
    lookalikes = [others[int(i)] for i in rng.permutation(len(others))[: SUBSET - 1]]
    subset = [after.id, *lookalikes]
    return Query(
        id=query_id,
        reference=before.id,
        text=" and ".join(captions),
        positives=positives,
        subset=tuple(subset[int(i)] for i in rng.permutation(SUBSET)),
        edit=edit,
        group=before.design["category"],
    )
