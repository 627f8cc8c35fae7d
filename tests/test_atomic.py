import os

import numpy as np
import pytest

from cirlib._atomic import atomic_path, atomic_write_text


def test_replaces_the_old_file_only_when_the_block_ends(tmp_path):
    target = atomic_write_text(tmp_path / "a" / "b.json", "old")
    with atomic_path(target) as draft:
        draft.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["b.json"]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    target = atomic_write_text(tmp_path / "b.json", "old")
    with pytest.raises(RuntimeError), atomic_path(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["b.json"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "b.json"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["rows.npz", "ranks.json.gz", "no_suffix"])
def test_the_draft_keeps_the_suffix(tmp_path, name):
    with atomic_path(tmp_path / name) as draft:
        assert draft.name == name.replace("rows", "draft").replace("ranks", "draft").replace("no_suffix", "draft")
        if draft.suffix == ".npz":
            np.savez(draft, a=np.zeros(2))
        else:
            draft.touch()
    assert (tmp_path / name).exists()


def test_the_file_has_ordinary_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert atomic_write_text(tmp_path / "atomic", "x").stat().st_mode == plain.stat().st_mode
