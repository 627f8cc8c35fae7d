"""Reading attributes by prompts, with an encoder whose answers are planted."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from cirlib.data.atelier.prompts import value_phrases
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.methods.zero_shot import attribute_hits, majority_share, read_attribute, value_embeddings

VALUES = [(name, value) for name in ATTRIBUTES for value in ATTRIBUTES[name].values]
WIDTH = len(VALUES)
PLACE = {pair: place for place, pair in enumerate(VALUES)}


class PlantedEncoder:
    """Every prompt of a value lies at that value's own direction, some way off it into a direction of its wording."""

    def texts(self, texts):
        owners = {text: pair for pair in VALUES for text in value_phrases(*pair)}
        rows = torch.zeros(len(texts), WIDTH + 32)
        for row, text in zip(rows, texts, strict=True):
            row[PLACE[owners[text]]] = 1.0
            row[WIDTH + sum(text.encode()) % 32] = 0.7
        return normalize(rows, dim=-1)


def picture_row(design, wrong: str = "") -> torch.Tensor:
    """A picture that shows its values, and the next value of the attribute `wrong` in place of the true one."""
    row = torch.zeros(WIDTH + 32)
    for name, value in design.items():
        values = ATTRIBUTES[name].values
        row[PLACE[name, values[(values.index(value) + (name == wrong)) % len(values)]]] = 1.0
    return row


DESIGNS = [picture("pretrain", index).design for index in range(64)]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_planted_value_is_read(name: str):
    values = ATTRIBUTES[name].values
    rows = torch.stack([picture_row({name: value}) for value in reversed(values)])
    assert read_attribute(PlantedEncoder(), normalize(rows, dim=-1), name) == list(reversed(values))


@pytest.mark.parametrize("name", ["category", "second_color", "belt"])
def test_a_value_is_the_mean_of_its_prompts_at_unit_length(name: str):
    rows = value_embeddings(PlantedEncoder(), name)
    assert rows.shape == (len(ATTRIBUTES[name].values), WIDTH + 32)
    for row, value in zip(rows, ATTRIBUTES[name].values, strict=True):
        prompts = PlantedEncoder().texts(value_phrases(name, value)).numpy()
        mean = sum(prompts) / len(prompts)
        np.testing.assert_allclose(row.numpy(), mean / math.sqrt((mean**2).sum()), atol=1e-6)


def test_hits_are_one_zero_or_not_applicable():
    rows = torch.stack([picture_row(design, wrong="fit" if number % 2 else "") for number, design in enumerate(DESIGNS)])
    hits = attribute_hits(PlantedEncoder(), normalize(rows, dim=-1), DESIGNS)
    assert list(hits) == list(ATTRIBUTES)
    for name, found in hits.items():
        expected = [math.nan if name not in d else float(name != "fit" or number % 2 == 0) for number, d in enumerate(DESIGNS)]
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert np.isnan(hits["sleeve"]).any() and np.nanmean(hits["sleeve"]) == 1.0


def test_hits_want_one_design_a_picture():
    with pytest.raises(ValueError, match="shorter|longer"):
        attribute_hits(PlantedEncoder(), torch.stack([picture_row(design) for design in DESIGNS[:2]]), DESIGNS[:3])


def test_majority_share_counts_only_where_the_attribute_applies():
    designs = [
        {"fit": "loose", "sleeve": "long"},
        {"fit": "loose"},
        {"fit": "fitted", "sleeve": "short"},
        {"fit": "loose", "sleeve": "long"},
    ]
    assert majority_share(designs, "fit") == 0.75
    assert majority_share(designs, "sleeve") == pytest.approx(2 / 3)
    assert majority_share([{"fit": "loose"}], "fit") == 1.0


def test_majority_share_is_the_best_constant_answer():
    for name in ("color", "fit", "belt"):
        best = max(np.mean([design[name] == value for design in DESIGNS if name in design]) for value in ATTRIBUTES[name].values)
        assert majority_share(DESIGNS, name) == pytest.approx(best)
