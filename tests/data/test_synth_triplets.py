"""SynthTriplets18M's layouts, on small files in the published form: tar shards and extracted members."""

import io
import json
import tarfile

import pytest
from PIL import Image

from cirlib.data.synth_triplets import load_synth_triplets
from cirlib.types import InputError

KEYS = ("000000", "000001", "000002")


def members(key, shade, **fields):
    """The three members of a sample, name to bytes."""
    found = {f"{key}.json": json.dumps({"source_caption": f"a cat {key}", "target_caption": f"a dog {key}"} | fields).encode()}
    for step, side in enumerate(("source", "target")):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (shade + step, 0, 0)).save(file, "PNG")
        found[f"{key}.{side}_image.png"] = file.getvalue()
    return found


def write_shard(path, files):
    with tarfile.open(path, "w") as shard:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))


def write_folder(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@pytest.fixture
def samples():
    return {name: content for shade, key in enumerate(KEYS) for name, content in members(key, 10 * shade).items()}


@pytest.mark.parametrize("layout", ["shards", "folder", "both"])
def test_shards_and_folders_give_the_same(layout, samples, tmp_path):
    first = dict(list(samples.items())[:3])
    rest = dict(list(samples.items())[3:])
    write_shard(tmp_path / "00000.tar", first) if layout != "folder" else write_folder(tmp_path, first)
    write_shard(tmp_path / "00001.tar", rest) if layout == "shards" else write_folder(tmp_path, rest)
    loaded = load_synth_triplets(tmp_path)
    assert [(t.reference, t.text, t.target) for t in loaded.triplets] == [(f"{k}/source", f"a dog {k}", f"{k}/target") for k in KEYS]
    assert loaded.triplets[1].reference_caption == "a cat 000001" and loaded.triplets[1].target_caption == "a dog 000001"
    assert [loaded.images.open(f"{key}/target").getpixel((0, 0))[0] for key in KEYS] == [1, 11, 21]
    assert len({loaded.images.content_hash(i) for i in loaded.images.ids}) == 6


def test_hashes_do_not_depend_on_the_layout(samples, tmp_path):
    (tmp_path / "a").mkdir()
    write_shard(tmp_path / "a" / "0.tar", samples)
    write_folder(tmp_path / "b", samples)
    one, other = (load_synth_triplets(tmp_path / name).images for name in "ab")
    assert [one.content_hash(i) for i in one.ids] == [other.content_hash(i) for i in other.ids]


def test_keys_choose_and_their_absence_counts(samples, tmp_path):
    write_shard(tmp_path / "0.tar", samples)
    keys = tmp_path / "keys.list"
    keys.write_text("000002\n000000\n\n")
    assert [t.reference for t in load_synth_triplets(tmp_path, keys=keys).triplets] == ["000000/source", "000002/source"]
    keys.write_text("000002\n999999\n")
    with pytest.raises(InputError, match="2 of 4 pictures of SynthTriplets18M are not in .*'999999/source'.*without 1 triplets"):
        load_synth_triplets(tmp_path, keys=keys)
    with pytest.warns(UserWarning, match="1 of 2 triplets left out"):
        loaded = load_synth_triplets(tmp_path, keys=keys, allow_missing=True)
    assert loaded.missing == ("999999/source", "999999/target") and len(loaded) == 1


def test_the_instruction_is_read_where_there_is_one(tmp_path):
    write_shard(tmp_path / "0.tar", members("a", 0, instruction=" make it a dog "))
    assert load_synth_triplets(tmp_path, text="instruction").triplets[0].text == "make it a dog"
    write_folder(tmp_path, members("part/b", 0))
    assert [t.target for t in load_synth_triplets(tmp_path).triplets] == ["a/target", "part/b/target"]
    with pytest.raises(InputError, match="b.json: field 'instruction' is None"):
        load_synth_triplets(tmp_path, text="instruction")
    with pytest.raises(InputError, match="choose one of target_caption, instruction"):
        load_synth_triplets(tmp_path, text="caption")


def test_what_is_broken_is_named(samples, tmp_path):
    with pytest.raises(InputError, match="holds no samples"):
        load_synth_triplets(tmp_path)
    write_folder(tmp_path, {name: content for name, content in samples.items() if name != "000001.json"})
    with pytest.raises(InputError, match=r"sample '000001' at .*has no 000001\.json"):
        load_synth_triplets(tmp_path)
    (tmp_path / "000001.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"000001\.json is not JSON"):
        load_synth_triplets(tmp_path)
    (tmp_path / "000001.json").write_text("[]")
    with pytest.raises(InputError, match="holds list; it must be an object"):
        load_synth_triplets(tmp_path)
    (tmp_path / "000001.json").write_text('{"source_caption": "a", "target_caption": ""}')
    with pytest.raises(InputError, match="field 'target_caption' is ''"):
        load_synth_triplets(tmp_path)


def test_broken_shards_and_copies_are_named(samples, tmp_path):
    (tmp_path / "0.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match=r"0\.tar is no readable tar shard"):
        load_synth_triplets(tmp_path)
    write_shard(tmp_path / "0.tar", samples)
    write_shard(tmp_path / "1.tar", samples)
    with pytest.raises(InputError, match=r"json of '000000' is there twice.*0\.tar, member 000000\.json and .*1\.tar"):
        load_synth_triplets(tmp_path)


def test_a_missing_or_broken_picture_is_named(samples, tmp_path):
    write_shard(tmp_path / "0.tar", samples | {"000000.target_image.png": b"broken"})
    loaded = load_synth_triplets(tmp_path)
    with pytest.raises(InputError, match=r"0\.tar, member 000000\.target_image\.png: .*cannot be read"):
        loaded.images.open("000000/target")
    write_shard(tmp_path / "0.tar", {name: content for name, content in samples.items() if name != "000002.source_image.png"})
    with pytest.raises(InputError, match="'000002/source'"):
        load_synth_triplets(tmp_path)
