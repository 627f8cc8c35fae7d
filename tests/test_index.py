"""A gallery on disk: built, added to, damaged, searched; equal to a plain matrix product."""

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_clip import write_tiny_clip
from torch.nn.functional import normalize

from cirlib.backbones.clip import Clip, load_clip
from cirlib.index import Index, build_index, load_index
from cirlib.types import InputError


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return load_clip(write_tiny_clip(tmp_path_factory.mktemp("clip")), device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine pictures, one of them in a subfolder."""
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    for number in range(9):
        path = root / ("more" if number == 4 else "") / f"p{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return root


def index_of(rows: torch.Tensor) -> Index:
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows.numpy())
    ids = tuple(map(str, range(len(rows))))
    return Index(Path(), {}, ids, ids, flat)


def build(folder: Path, clip: Clip, **options):
    return build_index(folder, folder.parent / "index", clip, progress=False, **options)


def test_a_built_index_is_the_gallery_of_clips_own_unit_rows(folder: Path, clip: Clip):
    report = build(folder, clip)
    index = load_index(folder.parent / "index")
    assert (report.n_pictures, report.n_added, report.n_encoded, report.unreadable) == (9, 9, 9, ())
    assert index.ids == ("more/p4.png", *(f"p{i}.png" for i in (0, 1, 2, 3, 5, 6, 7, 8)))
    expected = normalize(clip.encode_images([Image.open(folder / image_id) for image_id in index.ids]), dim=-1)
    torch.testing.assert_close(index.embeddings.rows, expected)
    assert index.embeddings.ids == index.ids and index.path(0) == folder / "more" / "p4.png"
    assert index.images().open("p3.png").size == (50, 40)
    assert index.metadata["fingerprint"] == clip.fingerprint() and index.metadata["miniature"] is False
    assert sorted(p.name.split("-")[0] for p in (folder.parent / "index").iterdir()) == ["gallery", "index.json", "pictures"]


def test_an_unchanged_folder_changes_no_file(folder: Path, clip: Clip):
    build(folder, clip)
    before = {p.name: p.stat().st_mtime_ns for p in (folder.parent / "index").iterdir()}
    report = build(folder, clip)
    assert (report.n_added, report.n_removed, report.n_encoded) == (0, 0, 0)
    assert {p.name: p.stat().st_mtime_ns for p in (folder.parent / "index").iterdir()} == before


def test_only_new_content_is_encoded(folder: Path, clip: Clip, tmp_path: Path):
    build(folder, clip)
    Image.new("RGB", (30, 30), "red").save(folder / "new.png")
    shutil.copy(folder / "p1.png", folder / "copy of p1.png")
    (folder / "p2.png").rename(folder / "renamed.png")
    (folder / "p3.png").unlink()
    shutil.copy(folder / "p6.png", folder / "p5.png")  # p5 now shows what p6 shows
    report = build(folder, clip)
    assert (report.n_pictures, report.n_added, report.n_removed, report.n_encoded) == (10, 4, 3, 1)
    index = load_index(tmp_path / "index")
    fresh = build_index(folder, tmp_path / "fresh", clip, progress=False)
    assert fresh.n_pictures == 10 and index.ids == load_index(tmp_path / "fresh").ids
    torch.testing.assert_close(index.embeddings.rows, load_index(tmp_path / "fresh").embeddings.rows)
    assert len(list((tmp_path / "index").iterdir())) == 3, "the old generation is gone"


def test_unreadable_files_are_reported_and_the_rest_is_indexed(folder: Path, clip: Clip):
    (folder / "broken.jpg").write_bytes(b"no picture")
    whole = (folder / "p7.png").read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    report = build(folder, clip)
    assert [item.id for item in report.unreadable] == ["broken.jpg", "half.png"] and report.n_pictures == 9
    (folder / "half.png").write_bytes(whole)
    assert [item.id for item in build(folder, clip).unreadable] == ["broken.jpg"]


def test_a_folder_without_a_readable_picture_is_refused(tmp_path: Path, clip: Clip):
    with pytest.raises(InputError, match="does not exist"):
        build_index(tmp_path / "nowhere", tmp_path / "index", clip)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        build_index(tmp_path / "empty", tmp_path / "index", clip)
    (tmp_path / "empty" / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1 pictures can be read"):
        build_index(tmp_path / "empty", tmp_path / "index", clip, progress=False)


def test_an_index_of_something_else_is_never_overwritten(folder: Path, clip: Clip, tmp_path: Path):
    build(folder, clip)
    other = load_clip(write_tiny_clip(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(InputError, match="differs in checkpoint; give another --out"):
        build(folder, other)
    with pytest.raises(InputError, match="differs in transform"):
        build(folder, clip, transform=clip.preset("targetpad"))
    with pytest.raises(InputError, match="is the index of"):
        build_index(folder / "more", tmp_path / "index", clip)


def test_what_is_no_index_is_named(folder: Path, clip: Clip, tmp_path: Path):
    with pytest.raises(InputError, match="holds no index; make one with"):
        load_index(folder)
    (tmp_path / "started" / "unfinished").mkdir(parents=True)
    with pytest.raises(InputError, match="holds an unfinished index"):
        load_index(tmp_path / "started")
    build(folder, clip)
    place = tmp_path / "index"
    metadata = json.loads((place / "index.json").read_text())
    (place / "index.json").write_text(json.dumps(metadata | {"format": 99}))
    with pytest.raises(InputError, match="index format 99"):
        load_index(place)
    (place / "index.json").write_text("{}")
    with pytest.raises(InputError, match="not an index of cirlib, or is damaged"):
        load_index(place)
    (place / "index.json").write_text(json.dumps(metadata))
    next(place.glob("gallery-*")).unlink()
    with pytest.raises(InputError, match="not an index of cirlib, or is damaged"):
        load_index(place)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 10**6), st.data())
def test_search_is_a_stable_sort_of_the_matrix_product(n: int, different: int, seed: int, data: st.DataObject):
    """Few different pictures among many: ties everywhere, also across the border of the k best."""
    generator = torch.Generator().manual_seed(seed)
    rows = normalize(torch.randn(different, 7, generator=generator), dim=1)[torch.randint(different, (n,), generator=generator)]
    query = normalize(torch.randn(25, 7, generator=generator), dim=1)
    excluded = data.draw(st.sets(st.integers(0, n - 1), max_size=n - 1))
    k = data.draw(st.integers(1, n - len(excluded)))
    scores, found = index_of(rows).search(query, k, exclude=sorted(excluded))
    product = (query.double() @ rows.double().T).float()
    product[:, sorted(excluded)] = -torch.inf
    expected = product.sort(dim=1, descending=True, stable=True)
    assert torch.equal(found, expected.indices[:, :k])
    torch.testing.assert_close(scores, (query @ rows.T).gather(1, found), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("k", "exclude"), [(0, ()), (4, ()), (3, (0,)), (-1, ())])
def test_k_outside_the_gallery_is_refused(k: int, exclude: tuple[int, ...]):
    with pytest.raises(InputError, match=f"k is {k} and {3 - len(exclude)} pictures can be returned"):
        index_of(torch.eye(3)).search(torch.eye(3), k, exclude=exclude)


def test_a_real_folder(shared_dir: Path, clip: Clip, tmp_path: Path):
    photographs = sorted((shared_dir / "photos" / "clothing" / "images").iterdir())[:40]
    (tmp_path / "photos").mkdir()
    for path in photographs:
        (tmp_path / "photos" / path.name).symlink_to(path)
    report = build_index(tmp_path / "photos", tmp_path / "index", clip, progress=False)
    index = load_index(tmp_path / "index")
    assert report.n_pictures == 40 and report.unreadable == ()
    scores, rows = index.search(index.embeddings.rows, 1)
    assert (scores - 1).abs().max() < 1e-5 and rows[:, 0].tolist() == list(range(40))
