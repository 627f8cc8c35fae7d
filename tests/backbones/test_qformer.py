"""The Q-Former against a forward pass written by hand and against transformers' own; what trains and what does not; bad checkpoints."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_qformer import ByHand, change_config, write_tiny_qformer

from cirlib.backbones import qformer_checkpoint
from cirlib.backbones.qformer import QFormer, load_qformer
from cirlib.types import InputError

TEXTS = ["is red", "is red and v-neck with shorter sleeves", "", "Darker, no BELT!"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qformer(tmp_path_factory.mktemp("qformer"))


@pytest.fixture(scope="module")
def qformer(folder: Path) -> QFormer:
    return load_qformer(folder, "cpu", torch.float32)


@pytest.fixture
def own(folder: Path) -> QFormer:
    """One that a test may change."""
    return load_qformer(folder, "cpu", torch.float32)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(len(TEXTS), 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def vision(qformer: QFormer, pixels: torch.Tensor) -> torch.Tensor:
    return qformer.vision_tokens(pixels)


def pieces(qformer: QFormer) -> list[list[int]]:
    tokens = qformer.tokenize(TEXTS)
    return [ids[mask == 1].tolist() for ids, mask in zip(tokens.ids, tokens.mask, strict=True)]


def assert_by_hand(found: torch.Tensor, by_hand: list[torch.Tensor]) -> None:
    torch.testing.assert_close(found.double(), torch.stack(by_hand), rtol=1e-4, atol=2e-5)


def test_vision_tokens_by_hand(qformer: QFormer, pixels: torch.Tensor, vision: torch.Tensor):
    assert qformer.vision_shape == (10, 24) == vision.shape[1:]
    assert_by_hand(vision, [ByHand(qformer.model).vision_tokens(picture) for picture in pixels])


def test_every_branch_by_hand(qformer: QFormer, vision: torch.Tensor):
    hand, ids = ByHand(qformer.model), pieces(qformer)
    assert len({len(row) for row in ids}) > 2, "padding of several lengths"
    pairs = list(zip(vision, ids, strict=True))
    assert_by_hand(qformer.image_tokens(vision), [hand.image_tokens(picture) for picture in vision])
    assert_by_hand(qformer.text_embedding(TEXTS), [hand.text_embedding(row) for row in ids])
    assert_by_hand(qformer.joint_query(vision, TEXTS), [hand.joint_query(*pair) for pair in pairs])
    assert_by_hand(qformer.matching_logits(vision, TEXTS), [hand.matching_logits(*pair) for pair in pairs])
    assert qformer.image_tokens(vision).shape == (4, qformer.n_tokens, qformer.embed_dim) == (4, 3, 12)


def test_states_at_the_words_by_hand(qformer: QFormer, vision: torch.Tensor):
    hand, joint = ByHand(qformer.model), qformer.joint_states(vision, TEXTS)
    for row, ids in enumerate(pieces(qformer)):
        queries, text = hand.qformer(hand.weights["query_tokens"][0], ids, vision[row])
        assert_by_hand(joint.queries[row], list(queries))
        assert_by_hand(joint.text[row, : len(ids)], list(text))


def test_other_queries_without_a_picture_by_hand(qformer: QFormer):
    """SPRC's second pass and its learned prompts."""
    hand = ByHand(qformer.model)
    queries = torch.randn(len(TEXTS), 5, qformer.hidden_size, generator=torch.Generator().manual_seed(2))
    joint = qformer.joint_states(None, TEXTS, queries)
    for row, ids in enumerate(pieces(qformer)):
        states, text = hand.qformer(queries[row].double(), ids, None)
        assert_by_hand(joint.queries[row], list(states))
        assert_by_hand(joint.text[row, : len(ids)], list(text))
    assert qformer.model.qformer.encoder.layer[0].has_cross_attention, "switched on again"


def test_transformers_own_forward_agrees(qformer: QFormer, pixels: torch.Tensor, vision: torch.Tensor):
    tokens = qformer.tokenize(TEXTS)
    with torch.no_grad():
        contrast = qformer.model(pixels, tokens.ids, tokens.mask)
        match = qformer.model(pixels, tokens.ids, tokens.mask, use_image_text_matching_head=True)
    torch.testing.assert_close(qformer.image_tokens(vision), contrast.image_embeds)
    torch.testing.assert_close(qformer.text_embedding(tokens), contrast.text_embeds)
    torch.testing.assert_close(qformer.matching_logits(vision, tokens), match.logits_per_image)


def test_picture_and_text_both_matter_and_nothing_leaks_between_rows(qformer: QFormer, vision: torch.Tensor):
    query = qformer.joint_query(vision, TEXTS)
    other_picture = torch.cat([vision[1:2], vision[1:]])
    changed = (qformer.joint_query(other_picture, TEXTS) - query).abs().amax(1)
    assert changed[0] > 1e-3 and changed[1:].max() < 1e-6
    changed = (qformer.joint_query(vision, ["is blue", *TEXTS[1:]]) - query).abs().amax(1)
    assert changed[0] > 1e-3 and changed[1:].max() < 1e-6


def test_one_text_for_every_picture(qformer: QFormer, vision: torch.Tensor):
    with pytest.raises(ValueError, match="4 pictures and 2 texts"):
        qformer.joint_query(vision, TEXTS[:2])


def test_frozen_until_asked(own: QFormer, pixels: torch.Tensor):
    assert not any(p.requires_grad for p in own.parameters()) and not own.training
    vision = own.unfreeze().train().vision_tokens(pixels)
    assert own.training and not any(part.training for part in own.vision_tower) and not vision.requires_grad
    score = torch.einsum("bd,bmd->bm", own.joint_query(vision, TEXTS), own.image_tokens(vision)).amax(1).sum()
    score = score + own.matching_logits(vision, TEXTS)[:, 1].sum()
    score.backward()
    reached = {name for name, p in own.model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    frozen = {name for name, p in own.model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in own.model.named_parameters() if name.startswith(("vision_model.emb", "vision_model.enc"))}
    for part in ("query_tokens", "embeddings.word_embeddings.weight", "vision_model.post_layernorm.weight", "vision_projection.weight"):
        assert part in reached
    assert {"text_projection.weight", "itm_head.weight", "qformer.encoder.layer.2.crossattention.attention.key.weight"} <= reached
    assert not reached & frozen


def test_fingerprints_tell_what_decides_what(own: QFormer, qformer: QFormer, folder: Path):
    assert own.fingerprint == qformer.fingerprint and qformer.vision_fingerprint.items() <= qformer.fingerprint.items()
    with torch.no_grad():
        own.model.itm_head.bias[0] += 1
    assert own.fingerprint != qformer.fingerprint and own.vision_fingerprint == qformer.vision_fingerprint
    for other in (load_qformer(folder, "cpu"), load_qformer(folder, "cpu", torch.float32, transform="targetpad")):
        assert other.vision_fingerprint != qformer.vision_fingerprint
    shorter = load_qformer(folder, "cpu", torch.float32, context_length=5)
    assert shorter.fingerprint != qformer.fingerprint and shorter.vision_fingerprint == qformer.vision_fingerprint


def test_tokens_are_kept_in_half_precision_by_default(folder: Path, pixels: torch.Tensor, vision: torch.Tensor):
    half = load_qformer(folder, "cpu")
    assert torch.equal(half.vision_tokens(pixels), vision.half())
    half.model.vision_model.encoder.layers[1].mlp.fc2.bias.fill_(1e5)
    with pytest.raises(InputError, match="do not fit into torch.float16"):
        half.vision_tokens(pixels)


def test_blip_squashes_pictures_and_padding_crops(qformer: QFormer, folder: Path):
    assert qformer.transform.squash and qformer.transform.name == "clip" and qformer.image_size == 24
    padded = load_qformer(folder, "cpu", transform="targetpad").transform
    assert (padded.name, padded.squash, padded.mean) == ("targetpad", False, qformer.transform.mean)


def test_context_is_that_of_lavis_where_positions_are_berts(folder: Path, tmp_path: Path):
    assert load_qformer(folder, "cpu").context_length == 24
    bert = write_tiny_qformer(tmp_path / "bert", max_position_embeddings=512)
    assert load_qformer(bert, "cpu").context_length == 32
    assert load_qformer(bert, "cpu", context_length=77).context_length == 77
    with pytest.raises(InputError, match="25 word pieces was asked for; .* reads 3 to 24"):
        load_qformer(folder, "cpu", context_length=25)


def test_bad_checkpoints_are_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def copy(name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    half = copy("half")
    weights = load_file(half / "model.safetensors")
    save_file({name: w for name, w in weights.items() if "itm_head" not in name}, half / "model.safetensors", metadata={"format": "pt"})
    empty = copy("empty")
    (empty / "config.json").unlink()
    broken = copy("broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    cases = {
        half: "lacks 2 weights for retrieval",
        empty: "cannot be read",
        broken: "cannot be loaded",
        change_config(copy("clip"), "config.json", model_type="clip"): "type 'clip', not blip-2",
        change_config(copy("size"), "preprocessor_config.json", size={"height": 32, "width": 32}): "32 px for a model of 24 px",
        change_config(copy("oblong"), "preprocessor_config.json", size={"height": 24, "width": 32}): "known are squares",
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message):
            load_qformer(path, "cpu")
    monkeypatch.setattr(qformer_checkpoint, "hub_answers", lambda: False)
    with pytest.raises(InputError, match="hub cannot be reached"):
        load_qformer("nobody/no-such-model", "cpu")
    with pytest.raises(InputError, match="dtype torch.int8"):
        load_qformer(folder, "cpu", torch.int8)
