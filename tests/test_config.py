from dataclasses import FrozenInstanceError

import pytest
import yaml

from cirlib.config import PROFILES, find_root, load_config
from cirlib.data.atelier.splits import FAMILY
from cirlib.types import InputError


@pytest.fixture
def raw(repo_root):
    return yaml.safe_load((repo_root / "config.yaml").read_text())


@pytest.fixture
def load(tmp_path):
    def write_and_load(raw, profile="mini"):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        return load_config(profile, tmp_path / "config.yaml")

    return write_and_load


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_of_the_project_loads(repo_root, profile):
    config = load_config(profile, repo_root / "config.yaml")
    assert config.root == repo_root and config.name == profile
    assert all(seed >= 0 for seed in config.profile.seeds) and len(set(config.profile.seeds)) == len(config.profile.seeds) > 0


def test_smoke_is_smaller_than_mini_and_mini_has_three_seeds(repo_root):
    smoke, mini = (load_config(profile, repo_root / "config.yaml").profile for profile in ("smoke", "mini"))
    assert smoke.atelier.test < mini.atelier.test and smoke.bootstrap < mini.bootstrap and len(mini.seeds) >= 3


@pytest.mark.parametrize("profile", PROFILES)
def test_galleries_of_atelier_are_whole_families(repo_root, profile):
    sizes = load_config(profile, repo_root / "config.yaml").profile.atelier
    assert all(count % FAMILY == 0 for count in (sizes.train, sizes.val, sizes.test, sizes.test_compositional))


def test_settings_cannot_be_changed(repo_root):
    config = load_config("mini", repo_root / "config.yaml")
    with pytest.raises(FrozenInstanceError):
        config.profile.bootstrap = 3
    with pytest.raises(TypeError):
        config.settings("00_check_setup")["repeats"] = 3


def test_an_unknown_notebook_is_named(repo_root):
    with pytest.raises(InputError, match="'99_x'.*00_check_setup"):
        load_config("mini", repo_root / "config.yaml").settings("99_x")


def spoil(raw, *path, value):
    for key in path[:-1]:
        raw = raw[key]
    raw[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("profils",), {}, "does not know profils"),
        (("profiles", "mini", "sedes"), [1], "does not know sedes"),
        (("profiles", "full", "atelier", "trian"), 4, "does not know trian"),  # codespell:ignore
        (("profiles", "mini", "bootstrap"), "10000", "profiles.mini.bootstrap is '10000'; expected int"),
        (("profiles", "mini", "bootstrap"), True, "expected int"),
        (("profiles", "mini", "seeds"), [0, "1"], "expected int"),
        (("profiles", "mini", "seeds"), 0, "profiles.mini.seeds is 0"),
        (("profiles", "mini", "atelier"), 5, "expected keys and values"),
        (("notebooks", "00_check_setup", "requires"), ["x"], "does not know requires"),
        (("notebooks", "00_check_setup", "needs"), ["09_evaluation"], "not listed above"),
        (("notebooks", "00_check_setup", "full"), {"repeats": 3}, "differ"),
        (("notebooks", "00_check_setup", "full"), {"matmul_rows": 3, "repeats": "3"}, "differ"),
    ],
)
def test_mistakes_are_named(raw, load, path, value, told):
    load(raw)
    spoil(raw, *path, value=value)
    with pytest.raises(InputError, match=told) as caught:
        load(raw)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(raw, load):
    del raw["profiles"]["mini"]["clip"]
    with pytest.raises(InputError, match=r"profiles\.mini lacks clip"):
        load(raw, "smoke")


def test_unknown_profile_broken_file_and_no_file(tmp_path):
    with pytest.raises(InputError, match="'tiny'.*smoke, mini, full"):
        load_config("tiny")
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(InputError, match="cannot be read"):
        load_config("mini", tmp_path / "config.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_config("mini", tmp_path / "absent.yaml")


def test_the_nearest_project_is_taken(tmp_path, repo_root):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "config.yaml").touch()
    assert find_root(tmp_path / "a" / "b") == (tmp_path / "a").resolve()
    assert find_root(tmp_path) == repo_root, "away from any project, the checkout that cirlib was installed from"


def test_a_checkpoint_is_a_folder_of_the_project_or_a_public_name(repo_root):
    mini, full = (load_config(profile, repo_root / "config.yaml") for profile in ("mini", "full"))
    assert mini.checkpoint("clip") == repo_root / "data" / "checkpoints" / "clip"
    assert full.checkpoint("clip") == "ViT-B-32/laion2b_s34b_b79k"
