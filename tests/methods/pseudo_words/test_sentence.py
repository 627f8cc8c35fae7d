"""The shared injection: one function, equal to what is written by hand."""

from pathlib import Path

import pytest
import torch
from tiny_clip import write_tiny_clip

import cirlib
from cirlib.backbones.clip import load_clip
from cirlib.backbones.clip_text import encode_token_sequence, placeholder_id, text_tower
from cirlib.methods.pseudo_words.prompts import TEMPLATES, TRAINING, compose_prompt
from cirlib.methods.pseudo_words.sentence import encode_sentences, plain_sentences, pseudo_sentences, sentence_tokens, word_embedding
from cirlib.types import InputError

WHOLE = dict(atol=2e-6, rtol=1e-5)


def random_words(clip, count, generator):
    return torch.randn(count, text_tower(clip).token_embedding.weight.shape[1], generator=generator)


def by_hand(clip, text, word):
    """Text tower over all columns, with the row of every placeholder replaced: a slow reference without any of the file's code."""
    tower = text_tower(clip)
    ids = clip.tokenize([text])
    hidden = tower.token_embedding(ids).clone()
    hidden[ids == placeholder_id(clip)] = word
    hidden = hidden + tower.positional_embedding
    for block in tower.transformer.resblocks:
        hidden = block(hidden, attn_mask=tower.attn_mask)
    return (tower.ln_final(hidden)[0, int(ids.argmax())] @ tower.text_projection)[None]


@pytest.mark.parametrize("text", ["a photo of $", "a photo of $ that is red", "$", "$ with $ and $"])
def test_rows_of_all_placeholders_are_replaced(tiny, generator, text):
    word = random_words(tiny, 1, generator)
    torch.testing.assert_close(pseudo_sentences(tiny, [text], word), by_hand(tiny, text, word), **WHOLE)


def test_sentences_of_different_lengths_and_numbers_of_placeholders_go_together(tiny, generator):
    texts = ["a photo of $", "$ with $ and $ that", "red $"]
    words = random_words(tiny, 3, generator)
    alone = torch.cat([by_hand(tiny, text, words[i : i + 1]) for i, text in enumerate(texts)])
    torch.testing.assert_close(pseudo_sentences(tiny, texts, words), alone, **WHOLE)


def test_groups_of_length_change_nothing(tiny, generator):
    texts = ["$ " + "that " * int(n) for n in torch.randint(0, 20, (40,), generator=generator)]
    words = random_words(tiny, 40, generator)
    alone = torch.cat([by_hand(tiny, text, words[i : i + 1]) for i, text in enumerate(texts)])
    torch.testing.assert_close(pseudo_sentences(tiny, texts, words), alone, **WHOLE)
    plain = [text.replace("$", "red") for text in texts]
    torch.testing.assert_close(plain_sentences(tiny, plain), tiny.encode_texts(plain), **WHOLE)


def test_gradients_count_every_placeholder_once(tiny, generator):
    texts = ["a photo of $", "$ with $ and $ that", "$ or $"]
    words = random_words(tiny, 3, generator).requires_grad_()
    pseudo_sentences(tiny, texts, words).square().sum().backward()
    for i, text in enumerate(texts):
        word = words[i : i + 1].detach().clone().requires_grad_()
        by_hand(tiny, text, word).square().sum().backward()
        torch.testing.assert_close(words.grad[i : i + 1], word.grad, atol=1e-5, rtol=1e-4)


def test_a_real_word_as_pseudo_word_says_what_the_word_says(tiny):
    found = pseudo_sentences(tiny, ["a photo of $ that"], word_embedding(tiny, "red")[None])
    torch.testing.assert_close(found, tiny.encode_texts(["a photo of red that"]), **WHOLE)
    torch.testing.assert_close(
        plain_sentences(tiny, ["a photo of red that", "red"]), tiny.encode_texts(["a photo of red that", "red"]), **WHOLE
    )
    with pytest.raises(InputError, match="tokens"):
        word_embedding(tiny, "xyz")


def test_replacing_the_placeholder_is_inserting_before_the_end(tiny, generator):
    """Pic2Word inserts the pseudo-word before the end token of "a photo of"."""
    word = random_words(tiny, 1, generator)
    tower, ids = text_tower(tiny), tiny.tokenize(["a photo of"])
    end = int(ids.argmax())
    longer = torch.cat([ids[:, :end], ids[:, end : end + 1], ids[:, end : end + 1]], 1)  # the second last row is replaced
    longer[0, end] = ids[0, 1]  # any id below the end token's
    inserted = encode_token_sequence(tiny, longer, columns=torch.tensor([[end]]), pseudo_words=word)
    assert tower.attn_mask is not None
    torch.testing.assert_close(pseudo_sentences(tiny, [TRAINING], word), inserted, **WHOLE)


@pytest.mark.parametrize("benchmark", ["fashioniq", "cirr", "circo", "genecis", "atelier"])
@pytest.mark.parametrize("method", [*TEMPLATES, "common"])
def test_the_pseudo_word_stands_fourth_in_every_prompt(tmp_path_factory, benchmark, method):
    from cirlib.backbones.miniature import miniature_path

    clip = miniature_clip(miniature_path("clip"))
    for template in (TRAINING, compose_prompt(benchmark, method)):
        tokens = sentence_tokens(clip, [template.replace("{modification_text}", "is red and has pockets")])
        assert tokens.columns.tolist() == [[4]] and not tokens.repeated.any()


def miniature_clip(folder, known={}):  # noqa: B006 - read once for all prompts
    if folder not in known:
        known[folder] = load_clip(folder, device="cpu")
    return known[folder]


def test_ends_and_columns_hold_after_the_cut(tiny):
    tokens = sentence_tokens(tiny, ["a photo of $", "$ that $"])
    assert tokens.ids.shape[1] == int(tokens.ends.max()) + 1 < tiny.context_length
    wanted = placeholder_id(tiny)
    for row in range(2):
        assert (tokens.ids[row, tokens.columns[row]] == wanted).all()
        assert int(tokens.ids[row].argmax()) == int(tokens.ends[row])
    assert tokens.repeated.tolist() == [[False, True], [False, False]]
    again = tokens.repeat(3)
    assert len(again) == 3 and torch.equal(again.ids[2], tokens.ids[0])


def test_a_tower_that_is_not_causal_keeps_all_columns(tmp_path, generator):
    clip = load_clip(write_tiny_clip(tmp_path, custom_text=True, text={"no_causal_mask": True}), device="cpu")
    assert sentence_tokens(clip, ["of $"]).ids.shape[1] == clip.context_length
    torch.testing.assert_close(plain_sentences(clip, ["of red"]), clip.encode_texts(["of red"]), **WHOLE)


def test_after_block_sees_the_cut_states(tiny, generator):
    tokens, seen = sentence_tokens(tiny, ["of $", "$"]), []

    def look(block, hidden):
        seen.append((block, tuple(hidden.shape[:2])))
        return hidden

    words = random_words(tiny, 2, generator)
    plain = encode_sentences(tiny, tokens, words)
    torch.testing.assert_close(encode_sentences(tiny, tokens, words, after_block=look), plain)
    assert seen == [(block, tuple(tokens.ids.shape)) for block in range(3)]


@pytest.mark.parametrize(("texts", "match"), [(["a photo of it"], "placeholder"), ([], "0 sentences"), (["$"] * 2, "one for all")])
def test_sentences_that_cannot_be_filled_are_refused(tiny, generator, texts, match):
    with pytest.raises(InputError, match=match):
        pseudo_sentences(tiny, texts, random_words(tiny, 3, generator))


def test_a_placeholder_beyond_the_context_is_refused(tiny, generator):
    with pytest.raises(InputError, match="within 32 tokens"), pytest.warns(UserWarning, match="cut"):
        pseudo_sentences(tiny, ["red " * 40 + "$"], random_words(tiny, 1, generator))


def test_methods_inject_pseudo_words_through_one_function():
    """Nobody else in the methods calls the text tower with pseudo-words."""
    folder = Path(cirlib.__file__).parent / "methods"
    callers = [path.name for path in folder.rglob("*.py") if "encode_token_sequence(" in path.read_text(encoding="utf-8")]
    assert callers == ["sentence.py"]
