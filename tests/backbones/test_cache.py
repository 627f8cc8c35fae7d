"""Rows come back by content, whoever wrote them and however they ended."""

import multiprocessing

import pytest
import torch

from cirlib.backbones.cache import EmbeddingCache
from cirlib.types import InputError

WEIGHTS = {"checkpoint": "a"}


def numbered(start: int, stop: int) -> tuple[list[str], torch.Tensor]:
    return [f"{i:064x}" for i in range(start, stop)], torch.arange(start, stop).float()[:, None].expand(-1, 4)


def test_rows_come_back_and_absent_ones_are_left_out(tmp_path):
    cache = EmbeddingCache(tmp_path, WEIGHTS)
    cache.add(*numbered(0, 5))
    cache.add(*numbered(5, 9))
    found = EmbeddingCache(tmp_path, WEIGHTS).lookup(numbered(3, 12)[0])
    assert {int(content, 16): row[0].item() for content, row in found.items()} == {i: float(i) for i in range(3, 9)}


def test_another_fingerprint_is_another_cache(tmp_path):
    EmbeddingCache(tmp_path, WEIGHTS).add(*numbered(0, 5))
    assert EmbeddingCache(tmp_path, {"checkpoint": "b"}).lookup(numbered(0, 5)[0]) == {}


def test_a_reader_sees_what_another_writer_adds_later(tmp_path):
    reader, writer = EmbeddingCache(tmp_path, WEIGHTS), EmbeddingCache(tmp_path, WEIGHTS)
    assert reader.lookup(numbered(0, 2)[0]) == {}
    writer.add(*numbered(0, 2))
    assert len(reader.lookup(numbered(0, 2)[0])) == 2


def test_a_writer_killed_between_write_and_rename_leaves_nothing_that_is_read(tmp_path):
    cache = EmbeddingCache(tmp_path, WEIGHTS)
    cache.add(*numbered(0, 2))
    half = cache.folder / ".shard.safetensors.x1" / "draft.safetensors"
    half.parent.mkdir()
    half.write_bytes(b"half a fi")
    assert len(EmbeddingCache(tmp_path, WEIGHTS).lookup(numbered(0, 9)[0])) == 2


def _write(folder: str) -> None:
    for start in range(0, 40, 4):
        EmbeddingCache(folder, WEIGHTS).add(*numbered(start, start + 4))


def test_writers_side_by_side_agree(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(str(tmp_path),)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    cache = EmbeddingCache(tmp_path, WEIGHTS)
    assert len(cache.lookup(numbered(0, 40)[0])) == 40 and len(list(cache.folder.glob("*.safetensors"))) == 10


def test_a_damaged_shard_is_named(tmp_path):
    cache = EmbeddingCache(tmp_path, WEIGHTS)
    cache.add(*numbered(0, 2))
    next(cache.folder.glob("*.safetensors")).write_bytes(b"not a shard")
    with pytest.raises(InputError, match="is damaged.*delete it"):
        EmbeddingCache(tmp_path, WEIGHTS).lookup(["x"])


def test_nothing_to_add_writes_nothing_and_wrong_lengths_are_refused(tmp_path):
    cache = EmbeddingCache(tmp_path, WEIGHTS)
    cache.add([], torch.empty(0, 4))
    assert not cache.folder.exists()
    with pytest.raises(ValueError, match="2 hashes for 3 rows"):
        cache.add(["a", "b"], torch.zeros(3, 4))
