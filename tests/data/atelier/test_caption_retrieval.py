"""Captions that name everything, and the pictures that they fit."""

import pytest

from cirlib.data.atelier import words
from cirlib.data.atelier.caption_retrieval import load_caption_retrieval
from cirlib.data.atelier.schema import DETAILS, YES, Design
from cirlib.data.atelier.splits import picture
from cirlib.types import InputError

PICTURES = 200


@pytest.fixture(scope="module")
def benchmark():
    return load_caption_retrieval("test", PICTURES)


@pytest.fixture(scope="module")
def designs() -> dict[str, Design]:
    return {picture("test", index).id: picture("test", index).design for index in range(PICTURES)}


def wordings(name: str, design: Design) -> list[str]:
    """Every text that says this attribute's value: in a sentence, or as a pair of a dictionary."""
    value = design[name]
    pair = f" {words.key_name(name)}: {words.value_name(name, value)},"
    if name in DETAILS:
        said = words.DETAIL[name] if value == YES else [f"no {bare}" for bare in words.BARE[name]]
    elif name == "pattern" and value != "solid":  # a pattern with a second colour is a noun: "with red stripes"
        said = [f"{design['second_color']} {noun}" for noun in words.PATTERN_NOUNS[value]]
    elif name == "second_color":
        said = [f"{value} {noun}" for noun in words.PATTERN_NOUNS[design["pattern"]]]
    elif name == "color":
        said = [value]
    else:
        said = {"category": words.NOUNS, "sleeve": words.SLEEVE, "neckline": words.NECKLINE, **words.ADJECTIVES}[name][value]
    return [pair, *(f" {text}{end}" for text in said for end in (" ", ","))]


def test_a_caption_names_every_attribute_that_applies(benchmark, designs):
    dictionaries = 0
    for query in benchmark.queries:
        design, text = designs[query.target], f" {query.text},"
        if "category: " in text:
            dictionaries += 1
            assert text.count(": ") == len(design)
            assert all(wordings(name, design)[0] in text for name in design), query.text
        else:
            unsaid = [name for name in design if not any(said in text for said in wordings(name, design)[1:])]
            assert not unsaid, (unsaid, query.text)
    assert 0 < dictionaries < len(benchmark.queries) / 3


def test_positives_are_exactly_the_pictures_of_the_same_design(benchmark, designs):
    assert benchmark.gallery.ids == tuple(designs)
    for query in benchmark.queries:
        same = tuple(image_id for image_id, design in designs.items() if dict(design) == dict(designs[query.reference]))
        assert query.positives == same and query.reference == same[0] and query.id == f"caption-{same[0]}"
    found = [image_id for query in benchmark.queries for image_id in query.positives]
    assert sorted(found) == sorted(designs), "every picture answers one caption and no other"
    assert max(len(query.positives) for query in benchmark.queries) > 1, "families draw some designs twice"


def test_different_designs_have_different_captions(benchmark):
    assert len({query.text for query in benchmark.queries}) == len(benchmark.queries)


def test_labels_and_protocol(benchmark, designs):
    assert {image_id: dict(design) for image_id, design in designs.items()} == benchmark.labels
    assert not benchmark.protocol.exclude_reference, "the reference of a caption is its own target"
    assert str(PICTURES) in benchmark.protocol.gallery and (benchmark.name, benchmark.split) == ("atelier-captions", "test")


def test_the_same_every_time_and_in_every_size(benchmark):
    assert load_caption_retrieval("test", PICTURES).queries == benchmark.queries
    fewer = load_caption_retrieval("test", 50).queries
    assert [(q.id, q.text) for q in fewer] == [(q.id, q.text) for q in benchmark.queries[: len(fewer)]]
    assert load_caption_retrieval("val", 50).queries[0].text != fewer[0].text


@pytest.mark.parametrize("pictures", [49, 0, -1])
def test_a_gallery_below_the_last_cut_off_is_refused(pictures: int):
    with pytest.raises(InputError, match=rf"^{pictures} pictures.*50 or more"):
        load_caption_retrieval("test", pictures)


def test_an_unknown_split_is_named():
    with pytest.raises(InputError, match="no split 'exam'.*pretrain, train, val, test"):
        load_caption_retrieval("exam", 64)
