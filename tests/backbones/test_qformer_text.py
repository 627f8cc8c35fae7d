"""Cleaning, cutting and tracing of texts."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_qformer import SENTENCES

from cirlib.backbones.qformer_miniature import build_tokenizer
from cirlib.backbones.qformer_text import clean_text, tokenize
from cirlib.data.atelier.corpus import sentences
from cirlib.types import InputError


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(SENTENCES, least=1)


@given(st.text(max_size=300))
def test_cleaning_is_done_once(text: str):
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned == " ".join(cleaned.split()[:50]) and not set(cleaned) & set('.!"()*#:;~\n')


def test_words_are_one_piece_and_strangers_are_spelled(tokenizer):
    assert tokenizer.tokenize("is red and v-neck") == ["is", "red", "and", "v", "-", "neck"]
    assert tokenizer.tokenize("reds") == ["red", "##s"] and tokenizer.tokenize("zip") == ["z", "##i", "##p"]


def test_the_same_sentences_give_the_same_tokenizer(tmp_path: Path):
    for name, texts in (("one", SENTENCES), ("two", SENTENCES[::-1])):
        build_tokenizer(texts, least=1).save_pretrained(tmp_path / name)
    assert (tmp_path / "one" / "tokenizer.json").read_text() == (tmp_path / "two" / "tokenizer.json").read_text()


def test_both_captions_of_every_edit_fit_the_miniature():
    texts = list(sentences(400))
    tokenizer = build_tokenizer(texts)
    tokens = tokenize(tokenizer, [f"{a} and {b}" for a, b in zip(texts[-800::2], texts[-799::2], strict=True)], 64, "raise")
    assert tokens.ids.shape[1] <= 64 and (tokens.ids != tokenizer.unk_token_id).all()


def test_padding_is_masked_and_every_piece_knows_its_word(tokenizer):
    tokens = tokenize(tokenizer, ["Is RED!", "a v-neck,  shorter"], 24)
    assert tokens.texts == ("is red", "a v-neck, shorter")
    assert tokens.mask.sum(1).tolist() == [4, 8] and tokens.ids[0, 4:].tolist() == [tokenizer.pad_token_id] * 4
    assert tokens.words().tolist() == [[-1, 0, 1, -1, -1, -1, -1, -1], [-1, 0, 1, 1, 1, 1, 2, -1]]
    for text, row, spans in zip(tokens.texts, tokens.words().tolist(), tokens.spans.tolist(), strict=True):
        for word, (first, after) in zip(row, spans, strict=True):
            assert word < 0 or text[first:after] in text.split()[word]


def test_selected_texts_may_repeat(tokenizer):
    tokens = tokenize(tokenizer, ["is red", "a long blue dress", "no belt"], 24)
    chosen = tokens.select(torch.tensor([2, 0, 2]))
    assert chosen.texts == ("no belt", "is red", "no belt") and len(chosen) == 3
    assert torch.equal(chosen.ids[1], tokens.ids[0]) and torch.equal(chosen.words()[2], tokens.words()[2])


def test_a_cut_is_told(tokenizer):
    long = ["red", "red " * 30, "blue"]
    with pytest.warns(UserWarning, match="1 of 3 texts are longer than 24 word pieces or 50 words, the first is 'red red"):
        tokens = tokenize(tokenizer, long, 24)
    assert tokens.ids.shape == (3, 24) and tokens.ids[1, -1] == tokenizer.sep_token_id
    with pytest.raises(InputError, match="1 of 3 texts"):
        tokenize(tokenizer, long, 24, "raise")
    with pytest.raises(InputError, match="1 of 1 texts"):
        tokenize(tokenizer, ["red " * 51], 64, "raise")
    assert tokenize(tokenizer, ["red " * 50], 64, "raise").mask.sum() == 52, "exactly as long as is allowed"


@pytest.mark.parametrize("texts", [[], "one text"])
def test_a_list_of_texts_is_wanted(tokenizer, texts):
    with pytest.raises(InputError, match="no list of texts"):
        tokenize(tokenizer, texts, 24)
