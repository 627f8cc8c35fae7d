"""An explanation says what a dictionary says, and its terms are the score."""

import pytest
import torch
from dictionary_world import benchmark, images, method, queries

from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.pix2key.dictionary import Entry, parse_dictionary
from cirlib.methods.pix2key.explanation import Constraint, Explanation, Term, explain, judge
from cirlib.methods.pix2key.scoring import fuse

CANDIDATE = parse_dictionary("category: dress; color: red and white; pattern: striped").entries


@pytest.mark.parametrize(
    ("sign", "entry", "expected"),
    [
        ("want", Entry("color", "red"), ("red and white", "met")),
        ("want", Entry("color", "white and red"), ("red and white", "met")),
        ("want", Entry("color", "blue"), ("red and white", "violated")),
        ("want", Entry("color", "red and blue"), ("red and white", "violated")),
        ("keep", Entry("pattern", "striped"), ("striped", "met")),
        ("avoid", Entry("color", "white"), ("red and white", "violated")),
        ("avoid", Entry("pattern", "dotted"), ("striped", "met")),
        ("want", Entry("belt", "yes"), ("", "not stated")),
        ("avoid", Entry("belt", "yes"), ("", "not stated")),
    ],
)
def test_a_constraint_is_met_violated_or_not_stated(sign, entry, expected):
    assert judge(sign, entry, CANDIDATE) == expected


def test_an_objects_own_value_counts_where_there_are_several():
    candidate = (Entry("color", "red", "dress"), Entry("color", "black", "shoes"))
    assert judge("want", Entry("color", "black", "dress"), candidate) == ("red", "violated")
    assert judge("want", Entry("color", "black"), candidate) == ("red and black", "met")


@pytest.mark.parametrize("matching", ["pooled", "slots"])
@pytest.mark.parametrize("image_weight", [0.0, 0.3])
def test_terms_add_up_to_the_score_of_the_search(matching, image_weight):
    pix2key = method(matching=matching, image_weight=image_weight, alpha=0.6, beta=0.7)
    gallery, query = pix2key.encode_gallery(images()), pix2key.compose(queries(), images())
    pool = torch.arange(len(gallery)).expand(len(queries()), -1)
    scores = pix2key._slot_scores(queries(), pool, gallery) if matching == "slots" else query.rows @ gallery.rows.T
    for number, asked in enumerate(queries()):
        explained = [item.score for item in explain(pix2key, asked, images(), images().ids, images())]
        expected = scores[number].double()
        if matching == "pooled" and not image_weight:  # the search normalises q*, the explanation shows R itself
            expected *= fuse(pix2key.embed_signed(pix2key.signed([asked], images())), 0.6, 0.7).norm().double()
        torch.testing.assert_close(torch.tensor(explained).double(), expected, atol=1e-6, rtol=0)


def test_the_target_meets_what_the_runner_up_violates():
    pix2key, asked = method(), queries()[2]
    target, wrong = explain(pix2key, asked, images(), ["g", "b"], images())
    assert [(c.sign, c.entry.text, c.found, c.status) for c in target.constraints] == [
        ("want", "color: blue", "blue", "met"),
        ("keep", "category: dress", "dress", "met"),
        ("avoid", "belt: yes", "", "not stated"),
    ]
    assert wrong.constraints[2].status == "violated" and target.count("violated") == 0 < wrong.count("violated")
    assert wrong.constraints[2].cosine > target.constraints[2].cosine


def test_an_explanation_reads_well_in_a_terminal():
    terms = (Term("wants", 0.8, 0.75), Term("avoids", -0.2, 0.5))
    constraints = (
        Constraint("want", Entry("color", "red"), "red", "met", 0.9),
        Constraint("avoid", Entry("belt", "yes"), "", "not stated", 0.25),
    )
    assert Explanation(terms, constraints).lines() == [
        "score 0.5000 = wants +0.600 (+0.80 x 0.750)  avoids -0.100 (-0.20 x 0.500)",
        "want   color: red  met         has red  0.900",
        "avoid  belt: yes   not stated           0.250",
    ]
    assert Explanation((), ()).lines() == ["score 0.0000 = no term"]


def test_a_query_without_constraints_has_an_empty_explanation():
    pix2key = method()
    asked = queries()[0].__class__("lost", "h", "something else")
    found = explain(pix2key, asked, images(), ["a"], images())[0]
    assert found.constraints == () and found.score == 0
    evaluate(pix2key, benchmark())
