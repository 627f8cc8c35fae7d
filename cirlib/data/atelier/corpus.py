"""Sentences of atelier without pictures: what a vocabulary is learnt from."""

from collections.abc import Iterator

import numpy as np

from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.edits import build_edit, caption_pair
from cirlib.data.atelier.splits import DESIGNS, FAMILY, picture


def sentences(count: int) -> Iterator[str]:
    """`count` captions of `pretrain` designs and about as many edits between siblings of `train`."""
    rng = np.random.default_rng(0)
    for index in range(count):
        yield caption(rng, picture("pretrain", index).design)
    for family in range(count // 100):
        designs = [picture("train", family * FAMILY + i).design for i in range(DESIGNS)]
        for before in designs:
            for after in designs:
                edit = build_edit(rng, before, after)
                if edit is not None:
                    yield from caption_pair(rng, edit, before)
