"""The card of the miniature Q-Former: measured on a random one, it says what was measured and what it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_qformer import write_tiny_qformer

from cirlib.backbones.qformer import QFormer, load_qformer
from cirlib.backbones.qformer_cache import encode_vision_tokens
from cirlib.data.atelier import load_pictures
from cirlib.data.atelier.prompts import value_phrases
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.environment import check_environment
from cirlib.qformer_card import match, measure, read, write_card

TRAINING = {
    "recipe": {"pictures": 40_960, "steps": 1_234, "batch": 48, "matched": 17},
    "seconds": 754,
    "device": "cpu",
    "threads": 2,
    "torch": "9.8.7",
    "parameters": 3_210_000,
    "temperature": 0.0321,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_qformer(tmp_path_factory.mktemp("root") / "data" / "checkpoints" / "qformer", max_position_embeddings=256)
    (folder / "training.json").write_text(json.dumps(TRAINING))
    return folder


@pytest.fixture
def qformer(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QFormer:
    from cirlib import qformer_card

    real = qformer_card.encode_vision_tokens
    monkeypatch.setattr(qformer_card, "encode_vision_tokens", lambda *given: real(*given, tmp_path / "tokens", progress=False))
    return load_qformer(folder, "cpu", context_length=256)


def test_the_card_says_what_was_measured(folder: Path, qformer: QFormer):
    metrics = measure(qformer, pictures=192, gallery=64, searched=64, queries=20)
    for name, row in {**metrics["accuracy"], **metrics["composed"], "matching": metrics["matching"]}.items():
        assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1, name
    assert metrics["text_to_image"]["recall@10"]["chance"] == metrics["composed"]["recall@10"]["chance"] == 10 / 64
    designs = [picture("test", index).design for index in range(192)]
    assert list(metrics["accuracy"]) == [name for name in ATTRIBUTES if any(name in design for design in designs)]
    write_card(folder, metrics)
    card, text = json.loads((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert card["metrics"] == metrics and card["training"] == TRAINING and "model.safetensors" in card["sha256"]
    for said in (
        "3.2 million",
        "40,960 pictures",
        "1,234 steps of\n48 pictures",
        "17 of them",
        "13 minutes on\ncpu with 2 threads",
        "0.0321",
        "drawn clothes only",
    ):
        assert said in text, said
    for name in metrics["accuracy"]:
        assert f"| {name}" in text
    found = next(finding for finding in check_environment(folder.parents[2]) if finding.name == "checkpoint qformer")
    assert found.state == "OK"


def test_reading_takes_the_best_token_by_a_slow_loop(qformer: QFormer):
    designs = [picture("test", 64 * index).design for index in range(12)]
    tokens = torch.nn.functional.normalize(torch.randn(12, 3, 12, generator=torch.Generator().manual_seed(0)), dim=-1)
    hits = read(qformer, tokens, designs)
    for name in ("color", "sleeve"):
        values = ATTRIBUTES[name].values
        rows = [qformer.text_embedding(value_phrases(name, value)).mean(0) for value in values]
        for index, design in enumerate(designs):
            best = max(range(len(values)), key=lambda place: max(float(t @ rows[place] / rows[place].norm()) for t in tokens[index]))
            expected = np.nan if name not in design else float(values[best] == design[name])
            np.testing.assert_equal(hits[name][index], expected)
    assert np.isnan(hits["sleeve"]).any() and np.isfinite(hits["sleeve"]).any()


def test_matching_prefers_by_the_head(qformer: QFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    vision = encode_vision_tokens(qformer, load_pictures("test", 64), tmp_path / "tokens", progress=False)
    designs = [picture("test", index).design for index in range(64)]

    def by_length(tokens: torch.Tensor, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[0.0, float(len(text))] for text in texts])

    monkeypatch.setattr(qformer, "matching_logits", by_length)
    first = match(qformer, vision, designs)
    monkeypatch.setattr(qformer, "matching_logits", lambda tokens, texts: -by_length(tokens, texts))
    assert set(first) == {0.0, 1.0} and (first + match(qformer, vision, designs) <= 1).all()
