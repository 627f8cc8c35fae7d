"""Sentences of atelier without pictures: what a vocabulary is learnt from."""

from collections.abc import Iterator

import numpy as np

from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.design import sample_family
from cirlib.data.atelier.edits import build_edit, caption_pair
from cirlib.data.atelier.splits import generator, picture

RELATIVES = 24  # designs whose pairs are put into words; wider apart than those of the benchmark, for more kinds of edits


def sentences(count: int) -> Iterator[str]:
    """`count` captions of `pretrain` designs and about as many edits between relatives."""
    rng = np.random.default_rng(0)
    for index in range(count):
        yield caption(rng, picture("pretrain", index).design)
    for family in range(count // 100):
        designs = sample_family(generator("train", family, 0), RELATIVES, 0, RELATIVES)
        for before in designs:
            for after in designs:
                edit = build_edit(rng, before, after)
                if edit is not None:
                    yield from caption_pair(rng, edit, before)
