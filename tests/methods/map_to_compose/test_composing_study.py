"""Makers over one pool: same captions, known truth, and quality that orders them."""

import pytest

from cirlib.data.triplets import TripletSet
from cirlib.methods.map_to_compose.composing_study import TripletPool
from cirlib.types import InputError


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
    return TripletPool(64)


def echo(captions, texts):
    """A language model that changes nothing but the length."""
    return [f"{caption}, {text}" for caption, text in zip(captions, texts, strict=True)]


def test_makers_share_pictures_and_reference_captions_and_only_the_exact_ones_are_all_right(pool):
    made = [pool.exact(12), pool.templates(12), pool.language_model(12, echo)]
    assert [data.name for data in made] == ["exact", "template", "language model"]
    for data in made:
        assert len(data) == 12 and data.images is pool.images
        assert all(triplet.reference_caption == pool.captions[triplet.reference] for triplet in data.triplets)
    exact, template, model = map(pool.quality, made)
    assert exact.known == 12 and exact.satisfied == 1
    assert template.satisfied < 1 and model.satisfied < 1


def test_more_edits_to_choose_from_are_better(pool):
    few, many = (pool.quality(pool.templates(12, drawn)) for drawn in (1, 16))
    assert many.kept > few.kept


def test_pictures_of_unknown_design_need_somebody_who_reads_them(pool, pictures, data):
    foreign = TripletSet("made", data.triplets, pictures)
    with pytest.raises(InputError, match="reads them"):
        pool.quality(foreign)
