"""Injection inside the text tower: nothing in, nothing changed; what goes in gets gradients."""

import pytest
import torch
from tiny_clip import write_tiny_clip

from cirlib.backbones.clip import Clip, load_clip
from cirlib.backbones.clip_text import (
    PLACEHOLDER,
    encode_token_sequence,
    end_positions,
    fill_template,
    placeholder_id,
    token_embeddings,
    tokenize_with_placeholders,
)
from cirlib.types import InputError

TEXTS = ["a red dress", "that", "of $ that dress"]


def test_nothing_injected_is_encode_text_to_the_last_bit(any_tiny: Clip):
    ids = any_tiny.tokenize(TEXTS)
    with torch.no_grad():
        assert torch.equal(encode_token_sequence(any_tiny, ids), any_tiny.model.encode_text(ids))
        assert torch.equal(encode_token_sequence(any_tiny, ids, after_block=lambda number, hidden: hidden), any_tiny.model.encode_text(ids))


def test_replacing_tokens_by_their_own_embeddings_changes_nothing(any_tiny: Clip):
    ids = any_tiny.tokenize(TEXTS)
    columns = torch.tensor([[1, 2], [0, 1], [2, 3]])
    own = token_embeddings(any_tiny, ids)[torch.arange(3)[:, None], columns]  # (3, 2, t)
    with torch.no_grad():
        assert torch.equal(encode_token_sequence(any_tiny, ids, columns=columns, pseudo_words=own), any_tiny.model.encode_text(ids))


def test_a_pseudo_word_equal_to_another_words_embedding_reads_as_that_word(any_tiny: Clip):
    ids, columns = tokenize_with_placeholders(any_tiny, ["of $ that dress", "$ dress"])
    word = any_tiny.tokenize(["that"])[0, 1]
    swapped = any_tiny.tokenize(["of that that dress", "that dress"])
    pseudo_words = token_embeddings(any_tiny, word.expand(2, 1))[:, 0]  # (b, t): one per sentence
    with torch.no_grad():
        got = encode_token_sequence(any_tiny, ids, columns=columns, pseudo_words=pseudo_words)
        torch.testing.assert_close(got, any_tiny.model.encode_text(swapped))


def test_several_pseudo_words_keep_their_order(tiny: Clip):
    ids, columns = tokenize_with_placeholders(tiny, ["$ of $", "a $ $ dress"], count=2)
    assert columns.tolist() == [[1, 3], [2, 3]]
    words = torch.randn(2, 2, 24)
    forward, backward = (encode_token_sequence(tiny, ids, columns=columns, pseudo_words=w) for w in (words, words.flip(1)))
    assert (forward - backward).abs().min() > 0


def test_gradients_reach_pseudo_words_and_adapters_and_only_them(any_tiny: Clip):
    ids, columns = tokenize_with_placeholders(any_tiny, ["of $ that", "$ red dress"])
    words = torch.randn(2, 24, requires_grad=True)
    adapters = torch.nn.ModuleList(torch.nn.Linear(24, 24) for _ in range(3))

    def inject(number, hidden):
        return hidden.index_put((torch.arange(2), columns[:, 0]), adapters[number](hidden[torch.arange(2), columns[:, 0]]), accumulate=True)

    encode_token_sequence(any_tiny, ids, columns=columns, pseudo_words=words, after_block=inject).square().sum().backward()
    assert words.grad.abs().sum(dim=1).min() > 0
    assert adapters[0].weight.grad.abs().sum() > 0 and adapters[1].weight.grad.abs().sum() > 0
    assert adapters[2].weight.grad.abs().sum() == 0, "after the last block only the end token is read"
    assert all(parameter.grad is None for parameter in any_tiny.model.parameters())


def test_a_change_after_a_block_never_reaches_backwards(tiny: Clip):
    """The causal mask: what happens at a column cannot be seen by columns before it."""
    seen = {}

    def record(number, hidden, column=None):
        hidden = hidden if column is None or number else hidden.index_fill(1, torch.tensor([column]), 3.0)
        seen[number, column] = hidden
        return hidden

    ids = tiny.tokenize(["of that dress"])
    for column in (None, 3):
        encode_token_sequence(tiny, ids, after_block=lambda number, hidden, column=column: record(number, hidden, column))
    torch.testing.assert_close(seen[2, 3][:, :3], seen[2, None][:, :3])
    assert (seen[2, 3][:, 4:] - seen[2, None][:, 4:]).abs().max() > 1e-3


def test_the_end_column_is_where_the_sentence_is_read(any_tiny: Clip):
    ids = any_tiny.tokenize(TEXTS)
    ends = end_positions(any_tiny, ids)
    assert ids[torch.arange(3), ends].tolist() == [any_tiny.tokenizer.eot_token_id] * 3
    states = {}
    with torch.no_grad():
        encode_token_sequence(any_tiny, ids, after_block=lambda number, hidden: states.setdefault(number, hidden))
    assert list(states) == [0, 1, 2]


def test_padding_may_be_left_out_of_a_causal_tower(tiny: Clip):
    ids = tiny.tokenize(TEXTS)
    short = ids[:, : int(end_positions(tiny, ids).max()) + 1]
    assert short.shape[1] < ids.shape[1]
    torch.testing.assert_close(encode_token_sequence(tiny, short), encode_token_sequence(tiny, ids))


def test_placeholder_is_asked_from_the_tokenizer(tiny: Clip):
    assert tiny.tokenizer.decode([placeholder_id(tiny)]).strip() == PLACEHOLDER


def test_a_dollar_in_the_users_words_is_no_placeholder(tiny: Clip):
    text = fill_template("a $ that {modification_text}", "is $ of $")
    assert text.count(PLACEHOLDER) == 1 and "is dollar" in text


def test_a_placeholder_beyond_the_context_is_refused(tiny: Clip):
    text = "that " * 14 + "$"
    with pytest.raises(InputError, match="too long"):
        tokenize_with_placeholders(tiny, [text])
    with pytest.warns(UserWarning, match="cut"), pytest.raises(InputError, match="loses its placeholder at the limit of 16 tokens"):
        tokenize_with_placeholders(tiny, [text], on_long="truncate")


@pytest.mark.parametrize(("text", "number"), [("a dress", 0), ("$ of $", 2)])
def test_a_wrong_number_of_placeholders_is_refused(tiny: Clip, text: str, number: int):
    with pytest.raises(InputError, match=f"has {number} placeholders; give 1"):
        tokenize_with_placeholders(tiny, [text])


def test_shapes_that_do_not_fit_are_refused(tiny: Clip):
    ids, columns = tokenize_with_placeholders(tiny, ["$ of", "a $"])
    with pytest.raises(ValueError, match="do not fit"):
        encode_token_sequence(tiny, ids, columns=columns, pseudo_words=torch.zeros(1, 24))
    with pytest.raises(ValueError, match="do not fit"):
        encode_token_sequence(tiny, ids, columns=columns, pseudo_words=torch.zeros(2, 2, 24))
    with pytest.raises(ValueError, match="belong together"):
        encode_token_sequence(tiny, ids, columns=columns)


def test_towers_with_a_class_token_are_refused(tmp_path):
    clip = load_clip(write_tiny_clip(tmp_path, custom_text=True, text={"embed_cls": True}))
    with pytest.raises(InputError, match="not OpenCLIP's plain transformer"):
        encode_token_sequence(clip, clip.tokenize(TEXTS))
