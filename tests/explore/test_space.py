"""The map is PCA, and what is embedded once is kept."""

import numpy as np
import pytest
import torch

from cirlib.explore.space import fit_plane, has_plain_gallery, prepare_space
from cirlib.types import Embeddings


def test_the_plane_is_that_of_a_singular_value_decomposition():
    rows = np.random.default_rng(0).normal(size=(60, 7)) * np.array([5, 3, 1, 1, 1, 1, 1])
    plane = fit_plane(torch.from_numpy(rows).float())
    centred = rows - rows.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(plane.shares, (values**2 / (values**2).sum())[:2], rtol=1e-5)
    np.testing.assert_allclose(np.abs(plane.place(torch.from_numpy(rows)).numpy()), np.abs(centred @ axes[:2].T), atol=1e-4)
    assert all(column[column.abs().argmax()] > 0 for column in plane.axes.T)


def test_rows_that_do_not_vary_have_a_plane_too():
    plane = fit_plane(torch.ones(4, 3))
    assert plane.shares == (0.0, 0.0) and plane.place(torch.ones(4, 3)).abs().max() == 0


def test_dictionaries_are_embedded_once(explorer, collection, own_cache, monkeypatch):
    method = explorer.methods["Pix2Key"]
    first = prepare_space(method, collection)
    monkeypatch.setattr(method, "encode_gallery", lambda images: pytest.fail("embedded again"))
    torch.testing.assert_close(prepare_space(method, collection).gallery.rows, first.gallery.rows, rtol=0, atol=0)
    monkeypatch.undo()
    (path,) = (own_cache / "explore").iterdir()
    path.write_bytes(b"damaged")
    torch.testing.assert_close(prepare_space(method, collection).gallery.rows, first.gallery.rows)
    assert not has_plain_gallery(method) and has_plain_gallery(explorer.methods["sum"])


class Several:
    """A method with three vectors a picture."""

    name, fingerprint = "several", {"weights": "1"}

    def encode_gallery(self, images):
        rows = torch.stack([torch.eye(3) * (1 + len(image_id)) for image_id in images.ids])
        return Embeddings(images.ids, torch.nn.functional.normalize(rows, dim=-1))


def test_several_vectors_a_picture_are_one_on_the_map(collection):
    space = prepare_space(Several(), collection)
    assert space.gallery.rows.shape == (8, 3, 3) and space.flat.shape == (8, 3) and space.places.shape == (8, 2)
    torch.testing.assert_close(space.flat, torch.full((8, 3), 3**-0.5))


def test_rows_of_an_index_are_taken_as_they_are(explorer, collection):
    rows = torch.nn.functional.normalize(torch.randn(8, 24, generator=torch.Generator().manual_seed(0)), dim=-1)
    from dataclasses import replace

    known = replace(collection, plain=Embeddings(collection.images.ids, rows))
    assert torch.equal(prepare_space(explorer.methods["sum"], known).gallery.rows, rows)
