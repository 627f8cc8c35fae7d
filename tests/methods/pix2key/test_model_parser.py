from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.backbones.vlm_lessons import edit_answer
from cirlib.data.atelier import load_atelier
from cirlib.methods.pix2key.diagnostics import design_dictionary, polarity_scores
from cirlib.methods.pix2key.dictionary import Entry
from cirlib.methods.pix2key.model_parser import ModelParser, parse_updates

REFERENCE = (Entry("category", "dress"), Entry("color", "blue"), Entry("belt", "yes"))


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        ('{"positive": {"color": "red"}, "negative": {"belt": "yes"}, "open": ["neckline"]}', "json"),
        ('```json\n{"positive": {"Colour": "Red"}, "negative": {"belt": true}, "open": {"neck": 1},}\n```', "repaired"),
        ('{"positive": [{"key": "color", "value": "red"}, {"key": "belt", "value": "no"}], "negative": {}, "open": ["neckline"]}', "json"),
        ('{"positive": {"dress": {"color": "red", "belt": false}}, "open": ["neckline", "color"]}', "json"),
    ],
)
def test_forms_of_an_answer(answer, how):
    updates, found = parse_updates(answer, REFERENCE)
    assert found == how
    assert updates.wants == (Entry("color", "red"),)
    assert updates.avoids == (Entry("belt", "yes"),)
    assert updates.open == ("neckline",)


@pytest.mark.parametrize("answer", ["", "red", "[1, 2]", '{"color": "red"}', '{"positive": "red"}', "[" * 3000])
def test_answers_without_updates_fall_back(answer):
    assert parse_updates(answer, REFERENCE) == (None, "fallback")


@settings(deadline=None)
@given(st.text(alphabet='{}[]":, positvengaopr'))
def test_any_answer_is_read_without_an_error(answer):
    parse_updates(answer, REFERENCE)


class Model:
    fingerprint = {"weights": "stand-in"}

    def __init__(self, answers):
        self.answers, self.asked = answers, 0

    def write(self, pictures, prompts, max_new_tokens=256):
        self.asked += len(prompts)
        assert pictures is None
        return [next(answer for text, answer in self.answers.items() if prompt.endswith(text)) for prompt in prompts]


def test_unreadable_answers_are_parsed_by_rule_and_counted(tmp_path):
    model = Model({"is red": '{"positive": {"color": "red"}}', "no belt": "sorry"})
    parser = ModelParser(model, cache=tmp_path, progress=False)
    first, second = parser.parse(["is red", "no belt"], [REFERENCE, REFERENCE])
    assert first.wants == (Entry("color", "red"),)
    assert second.avoids == (Entry("belt", "yes"),)
    assert parser.outcomes == Counter(json=1, fallback=1)
    assert ModelParser(model, cache=tmp_path, progress=False).parse(["no belt"], [REFERENCE]) == [second]
    assert model.asked == 2


def test_the_answers_that_the_miniature_is_taught_are_read_as_the_truth():
    benchmark = load_atelier("val", 256, 100)
    designs = [benchmark.labels[query.reference] for query in benchmark.queries]
    answers = [edit_answer(q.edit, design, q.text) for q, design in zip(benchmark.queries, designs, strict=True)]
    updates = [parse_updates(answer, design_dictionary(design))[0] for answer, design in zip(answers, designs, strict=True)]
    scores = polarity_scores(updates, [query.edit for query in benchmark.queries], designs)
    assert scores["exact"].tolist() == [1.0] * 100
