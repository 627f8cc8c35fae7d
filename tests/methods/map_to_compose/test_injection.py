import pytest
import torch
from torch.nn.functional import normalize

from cirlib.backbones.clip_text import placeholder_id
from cirlib.backbones.miniature import miniature_path
from cirlib.methods.map_to_compose.composer import Composer, new_composer, new_injection
from cirlib.methods.map_to_compose.composing import ComposingAdapters
from cirlib.methods.map_to_compose.injection import InjectionAdapter, VisualInjection
from cirlib.methods.map_to_compose.layers import composing_blocks
from cirlib.methods.map_to_compose.recipe import Stage1Recipe, Stage2Recipe
from cirlib.methods.pseudo_words.mappers import Pic2WordMapper
from cirlib.methods.pseudo_words.prompts import TEMPLATES, TRAINING
from cirlib.methods.pseudo_words.sentence import encode_sentences, sentence_tokens
from cirlib.types import InputError

TEXTS = ["a photo of $ that is red", "a photo of $", "a photo of $ , that is 3"]


@pytest.fixture
def asked(tiny, composer):
    """Sentences, pseudo-words and keys of three random pictures."""
    tokens = torch.randn(3, 17, tiny.embedding_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return sentence_tokens(tiny, TEXTS), composer.mapper(tokens[:, 0]), composer.keys(tokens), tokens


def parameters(module):
    return sum(tensor.numel() for tensor in module.parameters())


@pytest.mark.parametrize(
    ("dim", "mapper", "projection", "adapter", "conv", "four", "total", "acting", "composing"),
    [
        (768, 1_050_368, 590_592, 6_543_104, 5_309_952, 26_172_416, 27_813_376, 21_270_272, 1_179_648),
        (512, 787_968, 262_656, 3_134_208, 2_360_320, 12_536_832, 13_587_456, 10_453_248, 786_432),
    ],
    ids=["L/14", "B/32"],
)
def test_sizes_of_the_released_modules(dim, mapper, projection, adapter, conv, four, total, acting, composing):
    with torch.device("meta"):
        phi = Pic2WordMapper(dim, dim)
        released = new_injection(dim, dim, 12, Stage1Recipe.released())
        ours = new_injection(dim, dim, 12, Stage1Recipe())
        adapters = ComposingAdapters(dim, composing_blocks(12), Stage2Recipe().rank)
    one = released.adapters[0]
    assert parameters(phi) == mapper and parameters(released.projection) == projection
    assert parameters(one) == adapter and parameters(one.conv) + parameters(one.conv_norm) == conv
    assert parameters(released.adapters) == four and mapper + parameters(released) == total
    assert mapper + parameters(ours) == acting
    assert parameters(adapters) == composing


def test_the_adapter_after_the_last_block_is_dead(tiny, composer, asked):
    """The sentence is the same with and without it, and nothing of it learns; the others do learn."""
    sentences, words, keys, tokens = asked
    width = words.shape[1]
    released = VisualInjection(tiny.embedding_dim, width, (*composer.injection.blocks, 2), 8, 2, 0.0, "released").eval()
    released.load_state_dict(composer.injection.state_dict(), strict=False)
    with_last = Composer(composer.mapper, released)(tiny, sentences, words, released.keys(tokens))
    torch.testing.assert_close(with_last, composer(tiny, sentences, words, keys), atol=0, rtol=0)
    with_last.square().sum().backward()
    assert all(tensor.grad is None or not tensor.grad.any() for tensor in released.adapters[2].parameters())
    assert all(any(tensor.grad.any() for tensor in adapter.parameters()) for adapter in released.adapters[:2])


def test_an_injection_changes_the_placeholder_alone_at_its_own_block(tiny, composer, asked):
    sentences, words, keys, _ = asked
    change, seen = composer.injection.after_block(keys, sentences.columns[:, 0], sentences.ends), []

    def watch(block, hidden):
        after = change(block, hidden)
        seen.append((block, (after != hidden).any(-1), hidden, after))
        return after

    with torch.no_grad():
        encode_sentences(tiny, sentences, words, after_block=watch)
    rows = torch.arange(3)
    for block, moved, before, after in seen:
        at_placeholder = torch.zeros_like(moved)
        at_placeholder[rows, sentences.columns[:, 0]] = block in composer.injection.blocks
        assert torch.equal(moved, at_placeholder)
        assert torch.equal(before[rows, sentences.ends], after[rows, sentences.ends])
    assert [block for block, moved, _, _ in seen if moved.any()] == list(composer.injection.blocks) == [0, 1]


def test_what_is_injected_depends_on_picture_and_sentence(tiny, composer, asked):
    _, words, keys, _ = asked
    with torch.no_grad():
        plain = composer(tiny, sentence_tokens(tiny, [TEXTS[0]]), words[:1], keys[:1])
        other_picture = composer(tiny, sentence_tokens(tiny, [TEXTS[0]]), words[:1], keys[1:2])
    assert not torch.equal(plain, other_picture)
    adapter, state = composer.injection.adapters[0], torch.randn(1, 24, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(adapter(state, state, keys[:1, 0]), adapter(state, -state, keys[:1, 0]))


def test_an_adapter_against_its_definition(composer):
    """One head at a time, from the weights."""
    adapter, generator = composer.injection.adapters[0], torch.Generator().manual_seed(2)
    placeholder, end, patches = (torch.randn(*shape, generator=generator) for shape in ((2, 24), (2, 24), (2, 16, 24)))
    grid = patches.transpose(1, 2).reshape(2, 24, 4, 4)
    seen = torch.nn.functional.conv2d(grid, adapter.conv.weight, padding=1) / (1 + adapter.conv_norm.eps) ** 0.5
    keys = adapter.to_keys(seen.relu().flatten(2).transpose(1, 2))
    torch.testing.assert_close(adapter.keys(patches), keys)
    q, u = adapter.to_query(placeholder), adapter.to_asked(end)
    for layer in adapter.attention:
        mha = layer.attention
        wq, wk, wv = mha.in_proj_weight.chunk(3)
        query, key, value = (q + u) @ wq.T, keys @ wk.T, keys @ wv.T  # the biases start at zero
        heads = [
            torch.softmax((query[:, None, part] * key[:, :, part]).sum(-1) / 4**0.5, -1)[:, None] @ value[:, :, part]
            for part in (slice(0, 4), slice(4, 8))
        ]
        answer = torch.cat(heads, -1)[:, 0] @ mha.out_proj.weight.T
        q = layer.norm(q + layer.feed_forward(answer))
    torch.testing.assert_close(adapter(placeholder, end, keys), adapter.to_answer(q), atol=1e-5, rtol=1e-4)
    assert (adapter(placeholder, end, keys) >= 0).all(), "as released, what is added is never negative"


def test_the_default_start_is_the_mapper_alone(tiny, stage1, asked):
    sentences, _, _, tokens = asked
    fresh = new_composer(tiny, stage1(answer="zero")).eval()
    with torch.no_grad():
        words = fresh.mapper(tokens[:, 0])
        found = fresh(tiny, sentences, words, fresh.keys(tokens))
        assert torch.equal(found, encode_sentences(tiny, sentences, words))


def test_cross_attention_layers_start_alike_and_do_not_share():
    adapter = InjectionAdapter(24, 8, 2)
    first, second = adapter.attention
    assert all(torch.equal(a, b) and a is not b for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_patches_are_averaged_to_a_smaller_grid(tiny):
    torch.manual_seed(0)
    small = VisualInjection(tiny.embedding_dim, 24, (0,), 8, 2, grid=2).eval()
    tokens = torch.randn(2, 17, tiny.embedding_dim, generator=torch.Generator().manual_seed(0))
    assert small.keys(tokens).shape == (2, 1, 4, 8)
    blocks = tokens[:, 1:].reshape(2, 2, 2, 2, 2, -1).mean((2, 4)).reshape(2, 4, -1)
    torch.testing.assert_close(small.keys(tokens)[:, 0], small.adapters[0].keys(small.projection(blocks)))


def test_what_cannot_be_built_is_refused():
    with pytest.raises(InputError, match="divide"):
        InjectionAdapter(24, 10, 4)
    with pytest.raises(InputError, match="square grid"):
        InjectionAdapter(24, 8, 2).keys(torch.zeros(1, 15, 24))


@pytest.mark.parametrize(
    "text", [TRAINING, *sorted({form for usual, special in TEMPLATES.values() for form in (usual, *special.values())})]
)
def test_the_placeholder_stands_in_column_4_of_every_prompt(text):
    """With CLIP's own byte pairs, and with those of the miniature: start, a, photo, of, placeholder."""
    from types import SimpleNamespace

    from cirlib import _torchvision

    _torchvision.prepare()
    import open_clip

    filled = text.replace("{modification_text}", "is red and longer")
    for where in ({}, {"bpe_path": str(miniature_path("clip") / "bpe_simple_vocab.txt.gz")}):
        tokenizer = open_clip.SimpleTokenizer(**where)
        wanted = placeholder_id(SimpleNamespace(tokenizer=tokenizer, name="tokens"))
        assert (tokenizer([filled])[0] == wanted).nonzero().flatten().tolist() == [4]


def test_sentences_of_a_batch_may_have_the_placeholder_anywhere(tiny, composer, asked):
    """The released code takes row 0's column for all; here each row has its own."""
    _, words, keys, _ = asked
    texts = ["$ that is red", "a photo of a red $"]
    with torch.no_grad():
        both = composer(tiny, sentence_tokens(tiny, texts), words[:2], keys[:2])
        alone = [composer(tiny, sentence_tokens(tiny, [texts[i]]), words[i : i + 1], keys[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(normalize(both, dim=-1), normalize(torch.cat(alone), dim=-1), atol=1e-5, rtol=1e-4)
