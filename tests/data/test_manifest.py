from pathlib import Path

import pytest

from cirlib.data.manifest import NAMES, load_manifest, sha256_of
from cirlib.data.registry import SPLITS, load_benchmarks
from cirlib.types import InputError

FETCHED = [name for name in NAMES if name != "dfmm"]  # whose official files may be passed on


@pytest.mark.parametrize("name", FETCHED)
def test_checksums_are_those_of_the_official_files(shared_dir: Path, name: str) -> None:
    manifest = load_manifest(name)
    root = shared_dir / "annotations" / name
    compared = 0
    for file in manifest.files:
        path = file.find(root)
        if path is None:
            assert file.sha256 is None, f"{file.path} has a checksum that nobody could have computed"
        else:
            assert (file.sha256, file.bytes) == (sha256_of(path), path.stat().st_size)
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", NAMES)
def test_every_part_of_a_benchmark_has_counts(name: str) -> None:
    manifest = load_manifest(name)
    assert {part.partition("/")[0] for part in manifest.counts} == set(SPLITS[name])
    assert set(manifest.pictures) == {"what", "where", "terms"}
    assert manifest.base_url.startswith("https://raw.githubusercontent.com/") == (name in FETCHED)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'shoes' is unknown; choose one of fashioniq, cirr, circo, genecis, dfmm"):
        load_manifest("shoes")
    with pytest.raises(InputError, match="split of cirr 'test' is unknown; choose one of val, test1, train"):
        load_benchmarks("cirr", tmp_path, "test")


def test_registry_gives_the_parts(shared_dir: Path) -> None:
    parts = load_benchmarks("genecis", shared_dir / "annotations/genecis", images=False)
    assert [part.queries[0].group for part in parts] == ["focus_attribute", "change_attribute", "focus_object", "change_object"]
