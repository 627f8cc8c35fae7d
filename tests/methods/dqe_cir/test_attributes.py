"""Attribute features and weights against plain loops; where an attribute is absent it learns nothing."""

import math

import pytest
import torch
from torch.nn.functional import softmax

from cirlib.methods.dqe_cir.attributes import AttributeWeights, word_masks
from cirlib.types import InputError

TEXTS = ["is red and v-neck with shorter sleeves", "a long blue dress", "the same but no belt", "Darker, no BELT!"]


@pytest.fixture
def joint(qformer):
    vision = qformer.vision_tokens(torch.randn(len(TEXTS), 3, 24, 24, generator=torch.Generator().manual_seed(1)))
    return qformer.joint_states(vision, TEXTS)


def marked(qformer, text, group):
    """The word pieces that a mask marks, as text."""
    tokens = qformer.tokenize([text])
    pieces = qformer.tokenizer.convert_ids_to_tokens(tokens.ids[0])
    return [piece for piece, hit in zip(pieces, word_masks(tokens, (group,))[0, 0].tolist(), strict=True) if hit]


def test_masks(qformer):
    assert marked(qformer, TEXTS[0], "color") == ["red"]
    assert marked(qformer, TEXTS[0], "shape") == ["v", "-", "neck", "shorter", "sleeves"]
    assert marked(qformer, "Darker, or blue/red!", "color") == ["darker", "blue", "red"]
    assert marked(qformer, "a tan dress", "color") == ["t", "##a", "##n"], "every piece of a word that the tokenizer spells"
    assert marked(qformer, "neckties and infrared", "shape") == marked(qformer, "neckties and infrared", "color") == []


def test_words_that_were_cut_off_are_absent(qformer):
    text = "is red and " + "dress " * 21 + "blue"
    with pytest.warns(UserWarning, match="longer than"):
        assert marked(qformer, text, "color") == ["red"]


def test_parameters_as_counted(qformer):
    h, d = qformer.hidden_size, qformer.embed_dim

    def count(*settings):
        return sum(parameter.numel() for parameter in AttributeWeights(qformer, *settings).parameters())

    assert count("none") == 0
    assert count("scalar") == 2
    assert count("gated") == 2 * (2 * h * d + (h * d + d) + (h + 1) + 2 * h)  # 592,385 per attribute with BLIP-2's sizes
    assert count("token") == 2 * (h + 1 + 2 * h)
    assert count("gated", ("color",), "prototype") == count("gated", ("color",)) + h


def test_how_it_starts(qformer, joint):
    weights = AttributeWeights(qformer, seed=3)
    masks = word_masks(joint.tokens, weights.groups)
    parts = weights(joint, masks, qformer.model.text_projection)
    torch.testing.assert_close(parts.weights, torch.full((4, 2), 1 / (1 + math.e**2)))
    for part in weights.parts.values():
        assert torch.equal(part.projection.weight, qformer.model.text_projection.weight)
        assert part.projection.weight is not qformer.model.text_projection.weight and part.projection.weight.requires_grad
    same, other = AttributeWeights(qformer, seed=3), AttributeWeights(qformer, seed=4)
    assert torch.equal(same.parts["color"].key_text.weight, weights.parts["color"].key_text.weight)
    assert not torch.equal(other.parts["color"].key_text.weight, weights.parts["color"].key_text.weight)


def test_making_one_leaves_torchs_generator_alone(qformer):
    before = torch.get_rng_state()
    AttributeWeights(qformer, absent="prototype")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("absent", ["skip", "prototype"])
def test_gated_by_hand(qformer, joint, make_composer, absent):
    weights = make_composer("gated", absent=absent).attributes
    masks = word_masks(joint.tokens, weights.groups)
    with torch.no_grad():
        parts = weights(joint, masks, qformer.model.text_projection)
        for row in range(len(TEXTS)):
            for a, group in enumerate(weights.groups):
                part, hits = weights.parts[group], masks[row, a].nonzero().squeeze(1)
                assert parts.present[row, a] == (absent == "prototype" or len(hits) > 0)
                if len(hits):
                    u = joint.text[row, hits].mean(0)
                elif absent == "prototype":
                    u = part.prototype
                else:
                    continue
                states = joint.queries[row]
                scores = torch.tensor([(part.key_text.weight @ u) @ (part.key_query.weight @ state) for state in states])
                alpha = softmax(scores / math.sqrt(qformer.embed_dim), dim=0)
                feature = part.projection(sum(share * state for share, state in zip(alpha, states, strict=True)))
                weight = torch.sigmoid(part.bias[0] + part.gate @ part.norm(u))
                torch.testing.assert_close(parts.features[row, a], feature, rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(parts.weights[row, a], weight)


@pytest.mark.parametrize("mode", ["scalar", "gated"])
def test_an_absent_attribute_learns_nothing(qformer, make_composer, mode):
    composer = make_composer(mode)
    vision = qformer.vision_tokens(torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1)))
    composed = composer(vision, ["is red and blue"])  # no shape
    (composed.query[:, 0].sum() + (composed.attributes * composed.present.unsqueeze(2)).sum()).backward()
    parts = composer.attributes.parts
    assert all((parameter.grad == 0).all() for parameter in parts["shape"].parameters())
    assert all((parameter.grad != 0).any() for parameter in parts["color"].parameters())


def test_bad_settings(qformer):
    with pytest.raises(InputError, match="'loud'"):
        AttributeWeights(qformer, "loud")
    with pytest.raises(InputError, match="absent 'drop'"):
        AttributeWeights(qformer, absent="drop")
    with pytest.raises(InputError, match="prototype has no words"):
        AttributeWeights(qformer, "token", absent="prototype")
    for groups in ((), ("color", "color"), ("color", "size")):
        with pytest.raises(InputError, match="attribute groups"):
            AttributeWeights(qformer, "gated", groups)
