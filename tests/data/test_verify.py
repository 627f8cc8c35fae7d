"""Bounds on recall: checked against brute force over every way the missing pictures could have ranked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cirlib.data.files import PictureFolder
from cirlib.data.manifest import load_manifest
from cirlib.data.verify import Bounds, bound_recall, find_bad_pictures
from cirlib.types import Benchmark, BenchmarkProtocol, ImageSet, Query


def _toy(queries: list[Query], gallery: tuple[str, ...]) -> Benchmark:
    pictures = ImageSet(gallery, lambda i: None, lambda i: "")
    return Benchmark("cirr", "val", tuple(queries), pictures, pictures, BenchmarkProtocol(False, (1,)))


def test_bounds_count_queries_and_gallery() -> None:
    queries = [Query("0", "a", "x", ("b",)), Query("1", "c", "x", ("a",)), Query("2", "b", "x", ("d",)), Query("3", "a", "x", ("d", "c"))]
    bounds = bound_recall(load_manifest("cirr"), _toy(queries, ("a", "b", "c", "d")), "val", {"c": "missing"})
    assert bounds == Bounds("val", 4, 3, 4, 1)
    assert bounds.max_recall == 0.75 and bounds.full_recall(0.5) == 0.75


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_bounds_hold_for_random_scores(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    n, q = 12, 9
    scores, targets, references = rng.random((q, n)), rng.integers(n, size=q), rng.integers(n, size=q)
    gone = rng.random(n) < 0.25
    ranks_full = 1 + (scores > scores[np.arange(q), targets][:, None]).sum(axis=1)
    ranks_here = 1 + ((scores > scores[np.arange(q), targets][:, None]) & ~gone).sum(axis=1)
    there = ~gone[targets] & ~gone[references]
    names = tuple(f"p{i:02d}" for i in range(n))
    toy = _toy([Query(str(i), names[references[i]], "x", (names[targets[i]],)) for i in range(q)], names)
    bounds = bound_recall(load_manifest("cirr"), toy, "val", {name: "" for name, out in zip(names, gone, strict=True) if out})

    def recall_here(cutoff: int) -> float:
        return float(((ranks_here <= cutoff) & there).mean())

    full = float((ranks_full <= k).mean())
    assert recall_here(k) <= bounds.max_recall + 1e-12
    assert recall_here(k - bounds.missing_gallery) - 1e-12 <= full <= bounds.full_recall(recall_here(k)) + 1e-12


def test_missing_and_unreadable_pictures_are_told_apart(tmp_path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    missing, unreadable = find_bad_pictures(load_manifest("cirr"), ["a", "b", "c"], PictureFolder(tmp_path))
    assert list(missing) == ["c"] and list(unreadable) == ["b"]
    assert "cannot be read" in unreadable["b"]


@pytest.mark.parametrize(("image_id", "bad"), [("5@1,2,3,4", "5"), ("5", "000000000005")])
def test_cuts_share_their_picture(image_id: str, bad: str) -> None:
    toy = _toy([Query("0", image_id, "x", (image_id,))], (image_id,))
    assert bound_recall(load_manifest("genecis"), toy, "t", {bad: ""}).answerable == 0
