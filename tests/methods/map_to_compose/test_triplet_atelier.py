"""Captions, edits and designs that atelier knows, for training pictures only."""

import pytest

from cirlib.data.atelier import load_pictures
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.triplet_atelier import atelier_proposals, designs, own_captions, read_designs
from cirlib.types import InputError


@pytest.mark.parametrize("make", [designs, own_captions, lambda split, count: atelier_proposals(split, count, 3)])
def test_held_out_splits_are_refused(make):
    for split in ("val", "test", "test-compositional"):
        with pytest.raises(InputError, match=f"'{split}' asked for; train on pretrain or train"):
            make(split, 4)


def test_more_pictures_change_nothing_before_them():
    for style in ("sampled", "full"):
        few, many = own_captions("train", 5, style), own_captions("train", 9, style)
        assert few == {image_id: many[image_id] for image_id in few} and len(many) == 9
    assert own_captions("pretrain", 4, seed=1) != own_captions("pretrain", 4, seed=2)
    assert designs("train", 3)["train-000002"] == picture("train", 2).design


def test_edits_start_from_the_references_design():
    proposals = atelier_proposals("train", 64, 40)
    assert proposals[:10] == atelier_proposals("train", 64, 10)
    for proposal in proposals:
        design = picture("train", int(proposal.reference.rsplit("-", 1)[1])).design
        assert all(design.get(change.attribute, "") not in change.allowed for change in proposal.edit.changes)
        assert proposal.text and not proposal.target_caption


@pytest.mark.slow
def test_the_miniature_reads_designs_back():
    from cirlib.backbones.clip import load_clip
    from cirlib.backbones.miniature import miniature_path

    images, truth = load_pictures("train", 64), designs("train", 64)
    read = read_designs(ClipEncoder(load_clip(miniature_path("clip"), device="cpu"), progress=False), images)
    pairs = [(read[i].get(name), truth[i].get(name)) for i in images.ids for name in ATTRIBUTES]
    assert sum(a == b for a, b in pairs) / len(pairs) > 0.9
    assert all(list(design) == [name for name in ATTRIBUTES if name in design] for design in read.values())
