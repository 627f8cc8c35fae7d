"""The exported text encoder and tokenizer say what OpenCLIP says."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_clip import write_tiny_clip

from cirlib.backbones.clip import Clip, load_clip
from cirlib.backbones.clip_text_export import export_text_encoder, export_tokenizer
from cirlib.backbones.miniature import miniature_path
from cirlib.data.atelier.captions import caption, dictionary_text
from cirlib.data.atelier.splits import picture
from cirlib.types import InputError


@pytest.fixture(scope="module")
def miniature() -> Clip:
    return load_clip(miniature_path("clip"), device="cpu")


def penultimate(clip: Clip, ids: torch.Tensor) -> torch.Tensor:
    """Hidden states before OpenCLIP's last block, after its final norm, block by block."""
    model = clip.model
    hidden = model.token_embedding(ids) + model.positional_embedding
    for block in list(model.transformer.resblocks)[:-1]:
        hidden = block(hidden, attn_mask=model.attn_mask)
    return model.ln_final(hidden)


@pytest.mark.parametrize("changes", [{}, {"quick_gelu": True}], ids=["gelu", "quick gelu"])
def test_states_are_those_before_the_last_block(tmp_path: Path, changes: dict):
    clip = load_clip(write_tiny_clip(tmp_path, dtype=torch.float32, **changes), device="cpu")
    ids = clip.tokenize(["a red dress", "", "that of"])
    with torch.no_grad():
        torch.testing.assert_close(export_text_encoder(clip)(ids).last_hidden_state, penultimate(clip, ids))


def test_states_of_the_miniature(miniature: Clip):
    ids = miniature.tokenize(["a photo of a red dress with blue stripes", "category: coat, color: black"])
    with torch.no_grad():
        torch.testing.assert_close(export_text_encoder(miniature)(ids).last_hidden_state, penultimate(miniature, ids))


def ids_of(tokenizer, clip: Clip, texts: list[str]) -> torch.Tensor:
    return tokenizer(texts, padding="max_length", max_length=clip.context_length, return_tensors="pt").input_ids


def test_ids_of_captions_are_openclips(miniature: Clip):
    import numpy as np

    rng = np.random.default_rng(0)
    designs = [picture("pretrain", index).design for index in range(40)]
    texts = ["", *(caption(rng, design) for design in designs), *(dictionary_text(design) for design in designs)]
    assert torch.equal(ids_of(export_tokenizer(miniature), miniature, texts), miniature.tokenize(texts))


@pytest.fixture(scope="module")
def tokenizer(miniature: Clip):
    return export_tokenizer(miniature)


@given(st.text(st.sampled_from("abcdrest 0123'.,;:-\nAé"), max_size=30))
@settings(max_examples=60, deadline=None)
def test_ids_of_any_text_are_openclips(miniature: Clip, tokenizer, text: str):
    assert torch.equal(ids_of(tokenizer, miniature, [text]), miniature.tokenize([text]))


def test_the_tokenizer_survives_its_file(miniature: Clip, tokenizer, tmp_path: Path):
    from transformers import CLIPTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again.pad_token_id == 0
    assert torch.equal(ids_of(again, miniature, ["a red dress, belted"]), miniature.tokenize(["a red dress, belted"]))


def test_a_tower_of_one_block_is_refused(tmp_path: Path):
    clip = load_clip(write_tiny_clip(tmp_path, text={"layers": 1}), device="cpu")
    with pytest.raises(InputError, match="one block"):
        export_text_encoder(clip)


def test_a_foreign_tokenizer_is_refused(tmp_path: Path):
    clip = load_clip(write_tiny_clip(tmp_path), device="cpu")
    clip.tokenizer = object()
    with pytest.raises(InputError, match="byte pair"):
        export_tokenizer(clip)
