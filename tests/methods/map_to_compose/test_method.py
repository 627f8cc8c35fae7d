import pytest
import torch

from cirlib.methods.map_to_compose.composer import Composer, new_composing
from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.pictures import Pictures
from cirlib.methods.map_to_compose.storage import DESCRIPTION, WEIGHTS, load_map_to_compose, save_map_to_compose
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.mappers import SearleMapper
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.sentence import sentence_tokens
from cirlib.types import InputError, Method, Query

QUERIES = [Query("a", "p5", "is red"), Query("b", "p2", "that is dress"), Query("c", "p5", "is red"), Query("d", "p5", "red")]


def test_it_is_a_method_with_plain_clip_as_gallery(encoder, composed, pictures):
    method = MapToCompose(encoder, composed)
    assert isinstance(method, Method)
    assert torch.equal(method.encode_gallery(pictures).rows, encoder.images(pictures).rows)


def test_a_mapper_alone_is_the_pseudo_word_method(encoder, composer, pictures):
    plain = PseudoWordMethod(encoder, composer.mapper)
    found = MapToCompose(encoder, Composer(composer.mapper)).compose(QUERIES, pictures)
    torch.testing.assert_close(found.rows, plain.compose(QUERIES, pictures).rows, atol=1e-6, rtol=1e-5)


def test_adapters_at_zero_are_stage_1_to_the_last_bit(tiny, encoder, composer, pictures, stage2):
    adapters = new_composing(tiny, stage2(init="released"))
    with torch.no_grad():
        for down in adapters.down:
            down.zero_()
    first = MapToCompose(encoder, composer).compose(QUERIES, pictures)
    assert torch.equal(
        first.rows, MapToCompose(encoder, Composer(composer.mapper, composer.injection, adapters)).compose(QUERIES, pictures).rows
    )
    fresh = Composer(composer.mapper, composer.injection, new_composing(tiny, stage2()))
    assert torch.equal(first.rows, MapToCompose(encoder, fresh).compose(QUERIES, pictures).rows)


def test_injection_and_adapters_each_move_the_query(encoder, composed, pictures):
    parts = [Composer(composed.mapper), Composer(composed.mapper, composed.injection), composed]
    rows = [MapToCompose(encoder, part).compose(QUERIES, pictures).rows for part in parts]
    assert not torch.allclose(rows[0], rows[1], atol=1e-4) and not torch.allclose(rows[1], rows[2], atol=1e-4)


def test_queries_are_composed_about_their_own_reference(tiny, encoder, composed, pictures):
    found = MapToCompose(encoder, composed).compose(QUERIES, pictures)
    assert found.ids == ("a", "b", "c", "d") and torch.equal(found.rows[0], found.rows[2])
    torch.testing.assert_close(found.rows.norm(dim=1), torch.ones(4))
    one = pictures.select(["p2"])
    with torch.no_grad():
        words = composed.mapper(image_features(encoder, one))
        keys = composed.keys(Pictures(encoder, one).tokens([0]))
        alone = composed(tiny, sentence_tokens(tiny, ["a photo of $ that that is dress"]), words, keys)
    torch.testing.assert_close(found.rows[1], torch.nn.functional.normalize(alone, dim=-1)[0], atol=1e-5, rtol=1e-4)


def test_composing_rests_the_weights_and_leaves_them_as_they_were(encoder, composed, pictures):
    composed.train()
    composed.mapper.eval()
    method, before = MapToCompose(encoder, composed), {name: tensor.clone() for name, tensor in composed.state_dict().items()}
    first = method.compose(QUERIES, pictures).rows
    assert torch.equal(first, method.compose(QUERIES, pictures).rows), "no dropout"
    assert composed.injection.training and not composed.mapper.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in composed.state_dict().items()), "statistics do not drift"
    assert not method.compose([], pictures).rows.numel()


def test_features_of_pictures_are_read_by_row(tiny, encoder, pictures, monkeypatch):
    held = Pictures(encoder, pictures)
    monkeypatch.setattr("cirlib.methods.map_to_compose.pictures.HELD_BYTES", 0)
    read = Pictures(encoder, pictures)
    assert read._held is None and torch.equal(held.tokens([3, 0, 3]), read.tokens(torch.tensor([3, 0, 3])))
    own = tiny.pixel_tokens(tiny.transform(pictures.open("p3"))[None]).projected
    torch.testing.assert_close(held.tokens([3]), own, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(held.features[3], own[0, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["whole", "stage 1", "another mapper"])
def test_what_is_saved_is_loaded(kind, encoder, composed, pictures, tmp_path):
    torch.manual_seed(1)
    composer = {
        "whole": composed,
        "stage 1": Composer(composed.mapper, composed.injection),
        "another mapper": Composer(SearleMapper(20, 24), None, composed.composing),
    }[kind]
    method = MapToCompose(encoder, composer, "mine", "a photo of $ , that {modification_text}")
    save_map_to_compose(method, tmp_path / "saved", {"seconds": 3})
    loaded = load_map_to_compose(tmp_path / "saved", encoder)
    assert (loaded.name, loaded.template) == (method.name, method.template)
    assert torch.equal(loaded.compose(QUERIES, pictures).rows, method.compose(QUERIES, pictures).rows)
    assert not any(tensor.requires_grad for tensor in loaded.composer.parameters()) and not loaded.composer.training


def test_folders_that_cannot_be_loaded_are_named(encoder, composed, tmp_path):
    with pytest.raises(InputError, match="holds no trained Map-to-Compose"):
        load_map_to_compose(tmp_path, encoder)
    saved = save_map_to_compose(MapToCompose(encoder, composed), tmp_path / "saved")
    text = (saved / DESCRIPTION).read_text()
    (saved / DESCRIPTION).write_text(text.replace(encoder.fingerprint["checkpoint"], "0" * 64))
    with pytest.raises(InputError, match="another CLIP"):
        load_map_to_compose(saved, encoder)
    (saved / DESCRIPTION).write_text(text)
    (saved / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        load_map_to_compose(saved, encoder)
