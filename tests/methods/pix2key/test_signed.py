from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.methods.pix2key.dictionary import Entry, canonical
from cirlib.methods.pix2key.signed import Updates, merge


def entries(**pairs):
    return tuple(Entry(key.replace("_", " "), value) for key, value in pairs.items())


REFERENCE = entries(category="dress", color="blue", pattern="striped", second_color="white", sleeve="long", belt="yes")


def keys(some):
    return [entry.key for entry in some]


def test_an_edit_replaces_the_entry_of_its_key_and_the_rest_anchors():
    signed = merge(REFERENCE, Updates(wants=entries(color="red")))
    assert signed.wants == entries(color="red")
    assert keys(signed.anchors) == ["category", "pattern", "second color", "sleeve", "belt"]
    assert signed.avoids == ()


def test_a_key_of_another_name_for_the_same_concept_conflicts():
    signed = merge(entries(colour="blue", sleeve_length="long"), Updates(wants=entries(color="red", sleeves="short sleeves")))
    assert signed.anchors == ()
    assert signed.wants == entries(color="red", sleeve="short")


def test_a_removal_keeps_its_negative_and_wants_the_category():
    signed = merge(REFERENCE, Updates(avoids=entries(belt="yes")))
    assert signed.avoids == entries(belt="yes")
    assert "belt" not in keys(signed.anchors)
    assert signed.wants == entries(category="dress")
    assert merge(entries(belt="yes"), Updates(avoids=entries(belt="yes"))).wants == ()


def test_a_described_detail_is_removed_whatever_its_description():
    assert merge(entries(belt="brown leather"), Updates(avoids=entries(belt="yes"))).anchors == ()


def test_avoided_values_go_by_equality_and_by_shared_words_but_not_by_words_of_the_key():
    assert merge(entries(color="light blue"), Updates(avoids=entries(color="blue"))).anchors == ()
    assert merge(entries(color="black and white"), Updates(avoids=entries(color="white"))).anchors == entries(color="black")
    kept = entries(neckline="wide neck")
    assert merge(kept, Updates(avoids=entries(neckline="tied neck"))).anchors == kept


def test_a_want_beats_an_avoid_of_the_same_entry():
    signed = merge(REFERENCE, Updates(wants=entries(color="red"), avoids=entries(color="red and green")))
    assert signed.wants == entries(color="red")
    assert signed.avoids == entries(color="green")


def test_opened_keys_are_no_anchors():
    signed = merge(REFERENCE, Updates(avoids=entries(color="blue"), open=("Colour",)))
    assert "color" not in keys(signed.anchors)


def test_the_second_color_goes_with_its_pattern():
    assert "second color" not in keys(merge(REFERENCE, Updates(wants=entries(pattern="solid"))).anchors)
    assert "second color" not in keys(merge(REFERENCE, Updates(avoids=entries(pattern="striped"))).anchors)
    assert "second color" in keys(merge(REFERENCE, Updates(wants=entries(pattern="dotted"), avoids=entries(pattern="striped"))).anchors)
    assert "second color" in keys(merge(REFERENCE, Updates(avoids=entries(pattern="floral"))).anchors)


def test_implicit_negatives_avoid_what_is_replaced_and_nothing_wanted():
    updates = Updates(wants=entries(color="red and blue", sleeve="short"))
    signed = merge(REFERENCE, updates, implicit_negatives=True)
    assert signed.avoids == entries(sleeve="long")
    assert merge(REFERENCE, updates).avoids == ()


def test_objects_meet_where_equal_or_unnamed():
    reference = (
        Entry("category", "dog", "dog"),
        Entry("color", "black", "dog"),
        Entry("category", "sofa", "sofa"),
        Entry("color", "red", "sofa"),
    )
    signed = merge(reference, Updates(wants=(Entry("color", "white", "dog"),)))
    assert [(e.object, e.value) for e in signed.anchors] == [("dog", "dog"), ("sofa", "sofa"), ("sofa", "red")]
    assert keys(merge(reference, Updates(wants=entries(color="white"))).anchors) == ["category", "category"]


some = st.lists(
    st.tuples(
        st.just(""),
        st.sampled_from(["color", "pattern", "second color", "sleeve", "belt", "category", "mood"]),
        st.sampled_from(["red", "blue", "light blue", "solid", "striped", "long", "yes", "dress"]),
    ),
    max_size=6,
).map(canonical)


@settings(max_examples=60, deadline=None)
@given(some, some, some, st.booleans())
def test_no_entry_has_two_signs_and_untouched_keys_stay(reference, wants, avoids, implicit):
    signed = merge(reference, Updates(wants, avoids), implicit)
    single = [{(e.key, part) for e in group for part in e.parts} for group in (wants, signed.anchors, signed.avoids)]
    assert not single[0] & single[1] and not single[0] & single[2] and not single[1] & single[2]
    touched = set(keys(wants)) | set(keys(avoids)) | {"second color"}
    assert [e for e in reference if e.key not in touched] == [e for e in signed.anchors if e.key not in touched]
    assert merge(reference, Updates()).anchors == reference
