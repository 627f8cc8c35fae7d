"""Encoding a set: same rows however it is cut up, stopped, repeated or shared."""

import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from cirlib.backbones.clip import Clip
from cirlib.backbones.encode import encode_image_set
from cirlib.types import ImageSet, InputError

N = 23


class Wardrobe:
    """Pictures of one colour each; every fifth is a copy of the first, and some may be broken or stop the run."""

    def __init__(self, broken: tuple[int, ...] = (), stop_at: int | None = None) -> None:
        self.opened: Counter[str] = Counter()
        self.broken, self.stop_at = broken, stop_at

    def set(self) -> ImageSet:
        return ImageSet(tuple(f"p{i:02}" for i in range(N)), self.open, self.content)

    def content(self, image_id: str) -> str:
        number = int(image_id[1:])
        return "c00" if number % 5 == 0 else f"c{number:02}"

    def open(self, image_id: str) -> Image.Image:
        self.opened[image_id] += 1
        number = int(self.content(image_id)[1:])
        if number == self.stop_at:
            raise KeyboardInterrupt
        if number in self.broken:
            raise InputError(f"picture {image_id!r} is broken")
        return Image.new("RGB", (40, 40), (10 * number, 255 - 10 * number, 128))


def test_rows_are_clips_own_in_the_order_of_the_set_and_copies_are_encoded_once(tiny: Clip):
    wardrobe = Wardrobe()
    result = encode_image_set(tiny, wardrobe.set(), batch_size=4, shard_size=3, progress=False)
    torch.testing.assert_close(result.rows, tiny.encode_images(Wardrobe().set()))
    assert result.ids == wardrobe.set().ids and result.hashes == tuple(map(wardrobe.content, result.ids))
    assert set(wardrobe.opened.values()) == {1} and len(wardrobe.opened) == result.n_encoded == N - 4
    torch.testing.assert_close(result.embeddings.rows.norm(dim=1), torch.ones(N))


def test_batch_and_shard_sizes_and_workers_change_nothing(tiny: Clip, tmp_path: Path):
    whole = encode_image_set(tiny, Wardrobe().set(), progress=False).rows
    for number, (batch, shard, workers) in enumerate([(1, 1, 0), (7, 5, 0), (64, 2, 0), (4, 64, 2)]):
        cut = encode_image_set(
            tiny, Wardrobe().set(), batch_size=batch, shard_size=shard, workers=workers, cache_dir=tmp_path / str(number), progress=False
        )
        torch.testing.assert_close(cut.rows, whole)


def test_a_second_run_opens_nothing(tiny: Clip, tmp_path: Path):
    first = encode_image_set(tiny, Wardrobe().set(), cache_dir=tmp_path, progress=False)
    again = Wardrobe()
    second = encode_image_set(tiny, again.set(), cache_dir=tmp_path, progress=False)
    assert not again.opened and second.n_encoded == 0 and torch.equal(first.rows, second.rows)


def test_another_transform_is_encoded_anew(tiny: Clip, tmp_path: Path):
    encode_image_set(tiny, Wardrobe().set(), cache_dir=tmp_path, progress=False)
    again = Wardrobe()
    encode_image_set(tiny, again.set(), cache_dir=tmp_path, transform=tiny.preset("squarepad"), progress=False)
    assert len(again.opened) == N - 4


def test_an_interrupted_run_goes_on_where_it_stopped(tiny: Clip, tmp_path: Path):
    stopped = Wardrobe(stop_at=14)
    with pytest.raises(KeyboardInterrupt):
        encode_image_set(tiny, stopped.set(), cache_dir=tmp_path, batch_size=2, shard_size=4, progress=False)
    again = Wardrobe()
    result = encode_image_set(tiny, again.set(), cache_dir=tmp_path, batch_size=2, shard_size=4, progress=False)
    repeated = set(stopped.opened) & set(again.opened)
    assert len(stopped.opened) == 12 and len(repeated) <= 4, "only the shard that was not finished"
    torch.testing.assert_close(result.rows, tiny.encode_images(Wardrobe().set()))


def test_unreadable_pictures_are_reported_at_the_end_and_lose_no_work(tiny: Clip, tmp_path: Path):
    wardrobe = Wardrobe(broken=(7, 0))
    result = encode_image_set(tiny, wardrobe.set(), on_unreadable="report", batch_size=4, progress=False)
    assert [item.id for item in result.unreadable] == ["p00", "p05", "p07", "p10", "p15", "p20"], "copies of a broken one are broken"
    assert set(result.ids).isdisjoint(item.id for item in result.unreadable) and len(result.ids) == N - 6
    with pytest.raises(InputError, match=r"6 of 23 pictures cannot be read \(p00, p05, p07, ...\): picture 'p00' is broken"):
        encode_image_set(tiny, wardrobe.set(), cache_dir=tmp_path, progress=False)
    mended = Wardrobe()
    assert encode_image_set(tiny, mended.set(), cache_dir=tmp_path, progress=False).n_encoded == 2


def test_a_picture_without_a_hash_is_unreadable_too(tiny: Clip):
    def hasher(image_id: str) -> str:
        raise InputError(f"picture {image_id!r} is gone")

    result = encode_image_set(tiny, ImageSet(("a",), Wardrobe().open, hasher), on_unreadable="report", progress=False)
    assert result.unreadable[0].reason == "picture 'a' is gone" and result.rows.shape == (0, 20)


def test_an_empty_set_gives_no_rows(tiny: Clip):
    assert encode_image_set(tiny, Wardrobe().set().select([]), progress=False).embeddings.rows.shape == (0, 20)


SHARED_RUN = """
import sys, torch
sys.path[:0] = sys.argv[3:]
from accelerate import PartialState
from cirlib.backbones.clip import load_clip
from cirlib.backbones.encode import encode_image_set
from test_encode import Wardrobe

state = PartialState(cpu=True)
wardrobe = Wardrobe(broken=(7,))
result = encode_image_set(load_clip(sys.argv[1], device="cpu"), wardrobe.set(), cache_dir=sys.argv[2], on_unreadable="report", shard_size=4)
torch.save((result.rows, result.ids, len(wardrobe.opened), state.num_processes), f"{sys.argv[2]}/result{state.process_index}.pt")
state.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_share_the_work_and_both_return_all_of_it(tiny: Clip, tiny_folder: Path, tmp_path: Path):
    script = tmp_path / "shared_run.py"
    script.write_text(SHARED_RUN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]  # Accelerate's own runs one process on a CPU
    here = Path(__file__).parent
    arguments = ["--master_port", str(port), str(script), str(tiny_folder), str(tmp_path), str(here), str(here.parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    alone = encode_image_set(tiny, Wardrobe(broken=(7,)).set(), on_unreadable="report", progress=False)
    results = [torch.load(tmp_path / f"result{i}.pt") for i in range(2)]
    for rows, ids, _, processes in results:
        assert processes == 2 and ids == alone.ids
        torch.testing.assert_close(rows, alone.rows)
    assert [opened for _, _, opened, _ in results] == [10, 9], "each opens its half of 19 different pictures"
