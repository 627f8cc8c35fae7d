"""Targets by caption similarity, against a slow loop and against the truth."""

import pytest
import torch

from cirlib.methods.map_to_compose.triplet_atelier import atelier_proposals, designs, own_captions
from cirlib.methods.map_to_compose.triplet_retrieval import (
    language_model_triplets,
    retrieve_targets,
    rewrite_proposals,
    template_triplets,
    word_overlap,
)
from cirlib.methods.map_to_compose.triplet_templates import Proposal
from cirlib.methods.map_to_compose.triplets import triplet_quality
from cirlib.types import InputError

CAPTIONS = {"a": "a red dress", "b": "a blue dress", "c": "a blue dress", "d": "a red dress", "e": "a green coat with a belt"}


def test_the_nearest_other_caption_wins_and_ties_go_to_the_first():
    proposals = [Proposal("a", "blue", "a blue dress"), Proposal("b", "nothing", "a blue dress"), Proposal("e", "red", "a red coat")]
    triplets = retrieve_targets(proposals, CAPTIONS, word_overlap(tuple(CAPTIONS.values())))
    assert [t.target for t in triplets] == ["b", "a", "a"]  # "c" is captioned like the reference "b", so it is no target
    assert triplets[0].reference_caption == "a red dress" and triplets[0].target_caption == "a blue dress"


@pytest.mark.parametrize("keep", [None, 3, 0])
def test_retrieval_agrees_with_a_slow_loop(keep):
    captions = own_captions("train", 64)
    ids, texts = tuple(captions), list(captions.values())
    generator = torch.Generator().manual_seed(0)
    table = {text: torch.nn.functional.normalize(torch.randn(6, generator=generator), dim=0) for text in dict.fromkeys(texts)}
    proposals = [Proposal(ids[i], f"text {i}", texts[(5 * i + 3) % 64]) for i in range(20)]
    found = []
    for i, proposal in enumerate(proposals):
        best = max(
            (float(table[proposal.target_caption] @ table[captions[j]]), -place)
            for place, j in enumerate(ids)
            if captions[j] != captions[proposal.reference]
        )
        found.append((best[0], -i, ids[-best[1]]))
    kept = sorted(range(20), key=lambda i: found[i][:2], reverse=True)[:keep]
    triplets = retrieve_targets(proposals, captions, lambda given: torch.stack([table[text] for text in given]), keep)
    assert [(t.text, t.target) for t in triplets] == [(f"text {i}", found[i][2]) for i in sorted(kept)]


def test_rare_words_weigh_more():
    embed = word_overlap(["a red dress"] * 8 + ["a red coat with a hood"])
    query, dress, hood = embed(["dress with a hood", "a red dress", "a red coat with a hood"])
    assert query @ hood > query @ dress
    assert not embed(["unheard words"]).any()
    torch.testing.assert_close(embed(["Red, RED dress!"]), embed(["red dress"]))


def test_closer_captions_make_better_triplets():
    captions, truth = own_captions("train", 256, "full"), designs("train", 256)
    loose, strict = (triplet_quality(template_triplets(captions, 60, drawn=drawn), truth) for drawn in (1, 10))
    assert loose.count == strict.count == loose.known == 60
    assert strict.satisfied > 2 * loose.satisfied and strict.satisfied > 0.4
    assert len(template_triplets(captions, 5, seed=1)) == 5


def test_a_language_model_writes_the_target_captions():
    captions, truth = own_captions("train", 128, "full"), designs("train", 128)
    proposals = atelier_proposals("train", 128, 30)
    asked = []

    def rewrite(before, texts):
        asked.extend(zip(before, texts, strict=True))
        return ["" if i == 0 else f" {caption} {text} " for i, (caption, text) in enumerate(zip(before, texts, strict=True))]

    triplets = language_model_triplets(proposals, captions, rewrite)
    assert asked == [(captions[p.reference], p.text) for p in proposals]
    assert triplets[0].target_caption == f"{captions[proposals[0].reference]}, {proposals[0].text}"
    assert triplets[1].target_caption == f"{captions[proposals[1].reference]} {proposals[1].text}"
    assert triplet_quality(triplets, truth).known == 30
    assert len(language_model_triplets(proposals, captions, rewrite, keep=7)) == 7
    assert rewrite_proposals((), captions, rewrite) == ()


def test_what_cannot_be_retrieved_is_named():
    embed = word_overlap(tuple(CAPTIONS.values()))
    with pytest.raises(InputError, match="'is red' of 'a' lacks a target caption"):
        retrieve_targets([Proposal("a", "is red")], CAPTIONS, embed)
    with pytest.raises(InputError, match="'is red' of 'z' lacks"):
        retrieve_targets([Proposal("z", "is red", "a red dress")], CAPTIONS, embed)
    with pytest.raises(InputError, match="2 captioned pictures with 1 different captions"):
        retrieve_targets([Proposal("a", "is red", "red")], {"a": "x", "b": "x"}, embed)
    with pytest.raises(InputError, match="2 of 1 edits are to be kept"):
        retrieve_targets([Proposal("a", "is red", "red")], CAPTIONS, embed, keep=2)
