"""What captions name, and the edits that templates make of them."""

import pytest

from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.splits import generator, picture
from cirlib.data.lexicon import load_lexicon
from cirlib.methods.map_to_compose.attribute_mentions import find_mentions
from cirlib.methods.map_to_compose.triplet_atelier import own_captions
from cirlib.methods.map_to_compose.triplet_templates import template_proposals, vocabulary
from cirlib.types import InputError


def named(text):
    return [(m.key, m.value, m.kind) for m in find_mentions(text)]


def test_longest_phrases_and_their_neighbours_decide():
    assert named("a photo of a long dress with long sleeves and a high neck") == [
        ("length", "long", "value"),
        ("sleeve", "long", "value"),
        ("neckline", "turtleneck", "value"),
    ]
    assert named("red polka dot pants with blue dots") == [
        ("color", "red", "value"),
        ("pattern", "dotted", "value"),
        ("second color", "blue", "colored"),
        ("pattern", "dotted", "thing"),
    ]
    assert named("a button-up shirt in a picture") == []  # a kind of shirt and a frame, no buttons and no graphic
    assert named("") == []


def test_details_are_affirmed_or_denied():
    assert named("a belt, no pockets, without the lace hem") == [
        ("belt", "yes", "detail"),
        ("pockets", "no", "detail"),
        ("lace trim", "no", "detail"),
    ]


def test_pairs_stand_beside_their_own_key():
    text = "category: skirt, color: red, second color: blue, sleeve: short, length: long, belt: yes, lace trim: no"
    assert named(text) == [("color", "red", "value"), ("length", "long", "value"), ("belt", "yes", "detail"), ("lace trim", "no", "detail")]
    assert [m.text for m in find_mentions(text)][2:] == ["belt: yes", "lace trim: no"]


def test_mentions_agree_with_the_designs_behind_the_captions():
    """Independent check: what is found in atelier's captions is true of the design that was captioned."""
    names = {"second color": "second_color", "contrast collar": "collar", "star print": "print", "lace trim": "trim"}
    found = 0
    for index in range(200):
        design = picture("train", index * 7).design
        for mention in find_mentions(caption(generator("train", index, 9), design)):
            assert design[names.get(mention.key, mention.key)] == mention.value
            found += 1
    assert found > 600


CAPTIONS = {
    "a": "a red dress with white stripes, a belt and pockets",
    "b": "an orange dress with a round neck",
    "c": "a blue dress with black dots and a lace hem",
}


def test_words_of_a_swap_come_from_the_captions():
    words = vocabulary(tuple(CAPTIONS.values()))
    assert {value: dict(phrases) for value, phrases in words["color", "value"].items()} == {
        "red": {"red": 1},
        "orange": {"orange": 1},
        "blue": {"blue": 1},
    }
    assert set(words["second color", "colored"]) == {"white", "black"} and set(words["pattern", "thing"]) == {"striped", "dotted"}
    assert dict(words["lace trim", "detail"]["yes"]) == {"a lace hem": 1}
    assert ("belt", "detail") not in vocabulary(["no belt, pockets: yes"])


def test_captions_say_what_the_edit_says():
    proposals = template_proposals(CAPTIONS, 16, seed=1)
    assert len({(p.reference, p.target_caption) for p in proposals}) == 16
    lexicon, kinds = load_lexicon(), set()
    for proposal in proposals:
        (change,) = proposal.edit.changes
        kinds.add(change.kind)
        before, after = (
            {(m.key, m.value) for m in find_mentions(text)} for text in (CAPTIONS[proposal.reference], proposal.target_caption)
        )
        wanted = (change.attribute, change.after)
        assert change.attribute in lexicon.keys
        if change.kind == "remove":
            assert after == before - {(change.attribute, "yes")}
        else:
            assert after - before == {wanted} and before - after <= {(change.attribute, change.before)}
        assert change.allowed == (change.after,) and proposal.text
    assert kinds == {"set", "add", "remove"}


@pytest.mark.parametrize(
    ("caption_text", "edited"),
    [
        ("a dress with a belt", {"a dress"}),
        ("a dress with a belt and a bow", {"a dress with a bow", "a dress with a belt"}),
        (
            "a dress with a belt, a bow and lace",
            {"a dress with a bow and lace", "a dress with a belt and lace", "a dress with a belt, a bow"},
        ),
        ("a belted dress", {"a dress"}),
    ],
)
def test_what_is_removed_takes_its_joint_along(caption_text, edited):
    captions = {"a": caption_text, "b": "a red dress", "c": "a blue dress"}
    removals = {p.target_caption for p in template_proposals(captions, len(edited) + 2, seed=0) if p.edit.changes[0].kind == "remove"}
    assert removals <= edited
    many = {p.target_caption for seed in range(6) for p in template_proposals(captions, len(edited) + 2, seed=seed) if p.reference == "a"}
    assert edited <= many


def test_articles_follow_the_next_word():
    captions = {"a": "a red dress", "b": "an orange dress"}
    assert {p.target_caption for p in template_proposals(captions, 2)} == {"an orange dress", "a red dress"}


def test_fewer_edits_are_the_first_of_more():
    captions = own_captions("train", 64)
    assert template_proposals(captions, 50, seed=2)[:20] == template_proposals(captions, 20, seed=2)
    assert template_proposals(captions, 20, seed=2) != template_proposals(captions, 20, seed=3)


def test_captions_without_attributes_are_refused():
    with pytest.raises(InputError, match="3 template edits asked for, but 2 captions gave 0"):
        template_proposals({"a": "a dog", "b": "a cat"}, 3)
