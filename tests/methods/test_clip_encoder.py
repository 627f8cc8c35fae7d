import pytest
import torch

from cirlib.backbones.clip import load_clip
from cirlib.backbones.miniature import miniature_path
from cirlib.data.atelier import load_atelier
from cirlib.methods.clip_encoder import ClipEncoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return ClipEncoder(load_clip(miniature_path("clip"), device="cpu"), cache=tmp_path_factory.mktemp("cache"), progress=False)


def test_references_follow_the_queries(encoder):
    benchmark = load_atelier("test", 64, 8)
    queries = [*benchmark.queries, benchmark.queries[0]]
    rows = encoder.references(queries, benchmark.references)
    gallery = encoder.images(benchmark.gallery)
    torch.testing.assert_close(rows, gallery.rows[[benchmark.gallery.rows[q.reference] for q in queries]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(9))


def test_texts_are_unit_rows_and_long_ones_are_cut_with_a_warning(encoder):
    assert encoder.texts(["a red dress"]).shape == (1, encoder.clip.embedding_dim)
    with pytest.warns(UserWarning, match="1 "):
        rows = encoder.texts(["a red dress " * 60])
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(1))
