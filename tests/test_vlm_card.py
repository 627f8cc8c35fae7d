"""The card counts what is written against the truth, and says it twice over."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from cirlib import vlm_card
from cirlib.backbones.vlm_lessons import dictionary_answer, edit_answer, full_caption, rewritten_caption
from cirlib.backbones.vlm_prompts import CAPTION_PROMPT, DICTIONARY_PROMPT, edit_prompt, rewrite_prompt
from cirlib.data.atelier import load_atelier, load_pictures
from cirlib.data.atelier.splits import picture
from cirlib.environment import check_environment
from cirlib.vlm_card import caption_metrics, dictionary_metrics, edit_metrics, measure, precision_recall, write_card

PICTURES, QUERIES = 8, 10
TRAINING = {
    "recipe": {"pictures": 40_960, "tower_steps": 500, "tower_batch": 64, "steps": 1_234, "batch": 48, "texts": 7},
    "seconds": 754,
    "device": "cpu",
    "threads": 2,
    "torch": "9.8.7",
    "parameters": 4_321_000,
}


class Oracle:
    """Stands in for the model and knows every answer."""

    fingerprint = {"weights": "oracle"}

    def __init__(self) -> None:
        images = load_pictures("test", PICTURES)
        self.design = {images.open(image_id).tobytes(): picture("test", row).design for row, image_id in enumerate(images.ids)}
        self.text = {}
        benchmark = load_atelier("val", 640, QUERIES)
        for query in benchmark.queries:
            design = picture("val", benchmark.references.rows[query.reference]).design
            self.text[edit_prompt(dictionary_answer(design), query.text)] = edit_answer(query.edit, design, query.text)
            self.text[rewrite_prompt(full_caption(design), query.text)] = rewritten_caption(query.edit, design)

    def write(self, images: Sequence[Image.Image] | None, prompts: str | Sequence[str], max_new_tokens: int = 256) -> list[str]:
        if images is None:
            return [self.text[prompt] for prompt in prompts]
        answer = {DICTIONARY_PROMPT.text: dictionary_answer, CAPTION_PROMPT.text: full_caption}[prompts]
        return [answer(self.design[image.tobytes()]) for image in images]


@pytest.fixture(scope="module")
def metrics() -> dict:
    return measure(Oracle(), PICTURES, QUERIES)


def leaves(tree: dict) -> list[float]:
    return [leaf for value in tree.values() for leaf in (leaves(value) if isinstance(value, dict) else [value])]


def test_one_who_knows_everything_gets_full_marks(metrics: dict) -> None:
    assert metrics["pictures"] == PICTURES and metrics["queries"] == QUERIES
    assert set(leaves(metrics["dictionaries"]) + leaves(metrics["captions"]) + leaves(metrics["rewriting"])) == {1.0}
    assert metrics["edits"]["exact"]["mean"] == 1.0 and "color" in metrics["dictionaries"]["by_key"]


def test_dictionaries_by_hand() -> None:
    truths = ['{"dress":{"color":"red","belt":"yes"}}', '{"coat":{"color":"blue"}}', '{"coat":{"color":"blue"}}']
    found = dictionary_metrics(['{"dress":{"color":"red","fit":"loose"}}', '{"coat":{"color":"blue"}}', "no idea"], truths)
    assert found["well_formed"]["mean"] == round(2 / 3, 4) and found["exact"]["mean"] == round(1 / 3, 4)
    assert found["precision"]["mean"] == round((2 / 3 + 1) / 2, 4) and found["recall"]["mean"] == round((2 / 3 + 1 + 0) / 3, 4)
    assert found["by_key"]["color"]["recall"]["mean"] == round(2 / 3, 4) and found["by_key"]["belt"]["recall"]["mean"] == 0
    assert list(found["by_key"]) == ["category", "color", "belt"]


def test_captions_by_hand() -> None:
    found = caption_metrics(["a red dress", "a blue dress", "a dress with wings"], ["a red dress with a belt"] * 3)
    assert found["faithful"]["mean"] == round(1 / 3, 4) and found["exact"]["mean"] == 0
    assert found["precision"]["mean"] == round((1 + 1 / 2 + 1 / 2) / 3, 4) and found["recall"]["mean"] == round((2 + 1 + 1) / 9, 4)


def test_edits_by_hand() -> None:
    truth = '{"positive":{"color":"red"},"negative":{"color":"blue"},"open":[]}'
    found = edit_metrics([truth, '{"positive":{"color":"red"},"negative":{},"open":["fit"]}', "{"], [truth] * 3)
    assert found["exact"]["mean"] == round(1 / 3, 4) and found["well_formed"]["mean"] == round(2 / 3, 4)
    assert found["by_polarity"]["positive"]["recall"]["mean"] == round(2 / 3, 4)
    assert found["by_polarity"]["negative"] == {
        "precision": {"mean": 1.0, "low": 1.0, "high": 1.0},
        "recall": found["by_polarity"]["negative"]["recall"],
    }
    assert found["by_polarity"]["open"]["precision"]["mean"] == 0


def test_nothing_said_has_no_precision() -> None:
    found = precision_recall([frozenset()], [frozenset({("color", "red")})])
    assert found["precision"] is None and found["recall"]["mean"] == 0


def test_card_and_readme_say_the_same(metrics: dict, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "checkpoints" / "vlm"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "training.json").write_text(json.dumps(TRAINING))
    write_card(folder, metrics)
    card = json.loads((folder / "card.json").read_text())
    assert card["metrics"] == metrics and card["training"] == TRAINING
    assert card["sha256"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.safetensors", "training.json")
    }
    readme = (folder / "README.md").read_text()
    assert "4.3 million" in readme and "1,234 steps of 48 lessons" in readme and "100.0 (100.0 to 100.0)" in readme
    assert "| dictionary of a picture |" in readme and vlm_card.PUBLIC_MODEL in readme
    finding = next(finding for finding in check_environment(tmp_path) if finding.name == "checkpoint vlm")
    assert finding.state == "OK"
