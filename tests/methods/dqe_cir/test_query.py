"""Composed queries against a float64 forward pass written by hand; texts that name nothing have QuRe's query bit for bit."""

import pytest
import torch
from tiny_qformer import ByHand
from torch.nn.functional import normalize

from cirlib.methods.dqe_cir.attributes import word_masks
from cirlib.methods.dqe_cir.query import cross_relevance, relevance

TEXTS = ["is red and v-neck with shorter sleeves", "the same but no belt", "a blue dress", "the dress is the same but with no belt"]
PLAIN = [1, 3]


@pytest.fixture
def vision(qformer):
    return qformer.vision_tokens(torch.randn(len(TEXTS), 3, 24, 24, generator=torch.Generator().manual_seed(1)))


class LouderByHand(ByHand):
    """The Q-Former with states in place of its words, behind the norm of the embeddings."""

    def second(self, states, vision):
        x = torch.cat([self.norm(self.weights["query_tokens"][0], "qformer.layernorm", 1e-12), states])
        count = len(self.weights["query_tokens"][0])
        for number in range(self.config.num_hidden_layers):
            layer = f"qformer.encoder.layer.{number}"
            x = self.block(x, x, f"{layer}.attention")
            query, text = x[:count], x[count:]
            if number % 2 == 0:
                query = self.block(query, self.norm(vision.double(), "vision_model.post_layernorm", 1e-6), f"{layer}.crossattention")
            x = torch.cat([self.feed(query, layer, "_query"), self.feed(text, layer, "")])
        return self.linear(x[:count], "text_projection").mean(0)


def by_hand(composer, vision):
    """Queries one by one in float64, for modes none, scalar and token."""
    hand, attributes, rows = LouderByHand(composer.qformer.model), composer.attributes, []
    tokens = composer.qformer.tokenize(TEXTS)
    masks = word_masks(tokens, attributes.groups)
    for row in range(len(TEXTS)):
        length = int(tokens.mask[row].sum())
        queries, text = hand.qformer(hand.weights["query_tokens"][0], tokens.ids[row, :length].tolist(), vision[row])
        z = hand.linear(queries, "text_projection").mean(0)
        louder = text.clone()
        for a, part in enumerate(attributes.parts.values()):
            hits = masks[row, a, :length].nonzero().squeeze(1)
            if len(hits) == 0:
                continue
            u = text[hits].mean(0)
            if attributes.mode == "scalar":
                z = z + part.bias.double().sigmoid() * hand.linear(u, "text_projection")
            else:
                louder[hits] *= 1 + torch.sigmoid(part.bias.double() + part.gate.double() @ part.norm.double()(u))
                part.norm.float()
        if attributes.mode == "token" and masks[row].any():
            z = hand.second(louder, vision[row])
        rows.append(z / z.norm())
    return torch.stack(rows)


@pytest.mark.parametrize("mode", ["none", "scalar", "token"])
def test_queries_and_scores_by_hand(qformer, vision, make_composer, mode):
    composer = make_composer(mode)
    with torch.no_grad():
        wanted, found = by_hand(composer, vision), composer(vision, TEXTS).query
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=3e-5)
        hand = ByHand(qformer.model)
        scores = [[max((row @ token).item() for token in hand.image_tokens(picture)) for picture in vision] for row in wanted]
        tokens = qformer.image_tokens(vision)
    torch.testing.assert_close(cross_relevance(found, tokens).double(), torch.tensor(scores).double(), rtol=1e-4, atol=3e-5)
    torch.testing.assert_close(relevance(found, tokens), cross_relevance(found, tokens).diagonal())


def test_mode_none_is_the_joint_query(qformer, vision, make_composer):
    composed = make_composer("none")(vision, TEXTS)
    assert torch.equal(composed.query, qformer.joint_query(vision, TEXTS)) and torch.equal(composed.base, composed.query)
    assert composed.attributes.shape == (4, 0, 12) and composed.present.shape == composed.weights.shape == (4, 0)


@pytest.mark.parametrize("mode", ["scalar", "gated", "token"])
def test_texts_that_name_nothing_have_qures_query_bit_for_bit(qformer, vision, make_composer, mode):
    composed = make_composer(mode)(vision, TEXTS)
    z0 = qformer.model.text_projection(qformer.joint_states(vision, TEXTS).queries).mean(1)
    assert torch.equal(composed.query[PLAIN], normalize(z0, dim=-1)[PLAIN])
    assert not composed.present[PLAIN].any()
    named = [0, 2]
    assert not torch.isclose(composed.query[named], normalize(z0, dim=-1)[named], atol=1e-3).all(dim=1).any()
    assert composed.present[named].tolist() == [[True, True], [True, False]]
    plain = make_composer(mode)(vision[PLAIN], [TEXTS[row] for row in PLAIN])
    assert torch.equal(
        plain.query,
        normalize(qformer.model.text_projection(qformer.joint_states(vision[PLAIN], [TEXTS[1], TEXTS[3]]).queries).mean(1), dim=-1),
    )


def test_gated_adds_weighted_features(qformer, vision, make_composer):
    composer = make_composer("gated", ("color", "shape", "texture"))
    with torch.no_grad():
        joint = qformer.joint_states(vision, TEXTS)
        parts = composer.attributes(joint, word_masks(joint.tokens, composer.attributes.groups), qformer.model.text_projection)
        composed = composer(vision, TEXTS)
        for row in range(len(TEXTS)):
            z = qformer.model.text_projection(joint.queries[row]).mean(0)
            for a in range(3):
                if parts.present[row, a]:
                    z = z + parts.weights[row, a] * parts.features[row, a]
            torch.testing.assert_close(composed.query[row], normalize(z, dim=0))
    torch.testing.assert_close(composed.attributes.norm(dim=-1), torch.ones(4, 3))


def test_prototypes_act_on_every_query(qformer, vision, make_composer):
    composed = make_composer("gated", absent="prototype")(vision, TEXTS)
    assert composed.present.all()
    assert not torch.isclose(composed.query, qformer.joint_query(vision, TEXTS), atol=1e-3).all(dim=1).any()


def test_gradients_reach_every_part(qformer, vision, make_composer):
    for mode in ("scalar", "gated", "token"):
        composer = make_composer(mode)
        composer(vision, TEXTS).query[:, 0].sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in composer.attributes.parameters()), mode


def test_the_hook_of_the_second_pass_is_gone(qformer, vision, make_composer):
    before = qformer.joint_query(vision, TEXTS)
    make_composer("token")(vision, TEXTS)
    assert torch.equal(before, qformer.joint_query(vision, TEXTS))


def test_relevance_of_attributes(qformer):
    generator = torch.Generator().manual_seed(2)
    features, tokens = torch.randn(3, 2, 12, generator=generator), torch.randn(3, 5, 12, generator=generator)
    found = relevance(features, tokens)
    for row in range(3):
        for a in range(2):
            assert found[row, a].item() == pytest.approx(max((features[row, a] @ token).item() for token in tokens[row]), abs=1e-5)
