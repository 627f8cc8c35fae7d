import pytest
import torch
from tiny_clip import write_tiny_clip
from tiny_mappers import TRAININGS, run

from cirlib.backbones.clip import load_clip
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.stored import FACTS, load_mapper, save_mapper
from cirlib.types import InputError


@pytest.mark.parametrize("name", TRAININGS)
def test_a_mapper_comes_back_as_it_was(name, encoder, pictures, val, tmp_path):
    trained = run(name, encoder, pictures)
    method = load_mapper(save_mapper(trained, tmp_path / "m"), encoder)
    assert (method.name, method.template) == (trained.method.name, trained.method.template)
    assert torch.equal(method.compose(val.queries, pictures).rows, trained.method.compose(val.queries, pictures).rows)


def test_what_is_no_mapper_or_another_clips_is_refused(encoder, pictures, tmp_path):
    folder = save_mapper(run("pic2word", encoder, pictures), tmp_path / "m")
    other = ClipEncoder(load_clip(write_tiny_clip(tmp_path / "other", seed=5), device="cpu"), cache=tmp_path / "c", progress=False)
    with pytest.raises(InputError, match="another CLIP"):
        load_mapper(folder, other)
    (folder / FACTS).unlink()
    with pytest.raises(InputError, match="no mapper"):
        load_mapper(folder, encoder)
