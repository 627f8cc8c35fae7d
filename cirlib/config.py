"""Settings of a run: `config.yaml` as frozen dataclasses. A key that nobody knows raises: a slip of the keyboard is no setting."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin

import yaml

from cirlib.types import InputError

PROFILES = ("smoke", "mini", "full")


@dataclass(frozen=True)
class AtelierSizes:
    """How much of atelier a profile draws. A profile with fewer pictures uses the first ones of the same splits.

    Attributes:
        train: Pictures of the training split.
        val: Gallery pictures of the validation split.
        test: Gallery pictures of the test split.
        test_compositional: Gallery pictures of the split with attribute pairs that were never seen together.
        queries: Queries per split.
    """

    train: int
    val: int
    test: int
    test_compositional: int
    queries: int


@dataclass(frozen=True)
class Profile:
    """The numbers of one profile. They never choose which code runs.

    Attributes:
        seeds: Seeds of everything random; tables pool over them.
        bootstrap: Resamples of a bootstrap interval.
        clip: CLIP checkpoint: a folder relative to the project, or an OpenCLIP name as MODEL/PRETRAINED.
        vlm: Vision-language model that writes dictionaries and captions: a folder relative to the project, or a name on the hub.
        diffusion: Latent diffusion that V-Dict-AE reconstructs with: a folder relative to the project, or a name on the hub.
        qformer: BLIP-2 image-text retrieval model of DQE-CIR and SPRC: a folder relative to the project, or a name on the hub.
        benchmarks: Benchmarks that the tables show, by name.
        atelier: Sizes of the drawn world.
    """

    seeds: tuple[int, ...]
    bootstrap: int
    clip: str
    vlm: str
    diffusion: str
    qformer: str
    benchmarks: tuple[str, ...]
    atelier: AtelierSizes


@dataclass(frozen=True)
class Notebook:
    """One step of the pipeline.

    Attributes:
        name: File name in `notebooks/` without its suffix.
        needs: Notebooks whose results this one reads.
        reads: Other files that this one reads, relative to the project; a change of them runs it again.
        settings: Its own numbers in the chosen profile.
    """

    name: str
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Config:
    """Everything that `config.yaml` says about one profile.

    Attributes:
        root: Folder that `config.yaml` lies in; paths in it are relative to this folder.
        name: Name of the profile.
        profile: Its numbers.
        notebooks: Steps of the pipeline by name, in the order of the file.
    """

    root: Path
    name: str
    profile: Profile
    notebooks: Mapping[str, Notebook]

    def settings(self, notebook: str) -> Mapping[str, Any]:
        """Numbers of one notebook in this profile; raises InputError for a name that `config.yaml` does not list."""
        if notebook not in self.notebooks:
            raise InputError(f"notebook {notebook!r} is not in config.yaml, which lists {', '.join(self.notebooks)}; add it there")
        return self.notebooks[notebook].settings

    def checkpoint(self, role: str) -> Path | str:
        """Where the checkpoint of a role ("clip", "vlm", "diffusion", "qformer") lies: a folder of the project, else the public name."""
        name = getattr(self.profile, role)
        return self.root / name if (self.root / name).is_dir() else name


def find_root(start: Path | None = None) -> Path:
    """Folder of the project: the nearest one with a `config.yaml`, from `start` (default: the working folder) upwards.

    From elsewhere the checkout that cirlib was installed from is taken.

    Raises:
        InputError: If there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parent.parent):
        if (folder / "config.yaml").is_file():
            return folder
    raise InputError(f"no config.yaml in {start} or above it; run this inside a checkout of the project")


def load_config(profile: str = "mini", path: Path | None = None) -> Config:
    """Read `config.yaml` for one profile, strictly.

    Args:
        profile: "smoke", "mini" or "full".
        path: File to read; default: `config.yaml` of the project that the working folder lies in.

    Raises:
        InputError: For an unknown profile or key, a missing key, a value of the wrong kind, a `needs` that names no notebook or an earlier
            notebook that needs a later one, and settings that differ between profiles in more than their numbers.
    """
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} is not known; use {', '.join(PROFILES)}")
    path = path or find_root() / "config.yaml"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    _check_keys(raw, required=("profiles", "notebooks"), where=path.name)
    _check_keys(raw["profiles"], required=PROFILES, where="profiles")
    every = {name: _build(Profile, raw["profiles"][name], f"profiles.{name}") for name in PROFILES}
    notebooks: dict[str, Notebook] = {}
    for name, section in (raw["notebooks"] or {}).items():
        notebooks[name] = _notebook(name, section or {}, profile, earlier=tuple(notebooks))
    return Config(path.resolve().parent, profile, every[profile], MappingProxyType(notebooks))


def _notebook(name: str, section: Mapping[str, Any], profile: str, earlier: tuple[str, ...]) -> Notebook:
    where = f"notebooks.{name}"
    _check_keys(section, optional=("needs", "reads", *PROFILES), where=where)
    given = {key: section.get(key) or {} for key in PROFILES}
    kinds = {key: {setting: type(value) for setting, value in values.items()} for key, values in given.items()}
    for key in PROFILES:
        if kinds[key] != kinds["mini"]:
            raise InputError(f"{where}.{key} and {where}.mini differ in names or kinds of settings; profiles may differ in values only")
    needs = _convert(tuple[str, ...], section.get("needs") or [], f"{where}.needs")
    for need in needs:
        if need not in earlier:
            raise InputError(f"{where}.needs names {need!r}, which is not listed above it; steps stand in reading order")
    reads = _convert(tuple[str, ...], section.get("reads") or [], f"{where}.reads")
    return Notebook(name, needs, reads, MappingProxyType(given[profile]))


def _build(kind: type, raw: Any, where: str) -> Any:
    """Fill a dataclass from a mapping, field by field."""
    required = tuple(field.name for field in fields(kind) if field.default is MISSING)
    _check_keys(raw, required, tuple(field.name for field in fields(kind)), where)
    given = [field for field in fields(kind) if field.name in raw]
    return kind(**{field.name: _convert(field.type, raw[field.name], f"{where}.{field.name}") for field in given})


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Turn what YAML gave into what the field declares; numbers stay numbers, and true is not 1."""
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_convert(get_args(kind)[0], item, where) for item in value)
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        return _build(kind, value, where)
    if not isinstance(kind, type) or type(value) is not kind:
        raise InputError(f"{where} is {value!r}; expected {getattr(kind, '__name__', kind)}")
    return value


def _check_keys(raw: Any, required: tuple[str, ...] = (), optional: tuple[str, ...] = (), where: str = "") -> None:
    if not isinstance(raw, Mapping):
        raise InputError(f"{where} is {raw!r}; expected keys and values")
    unknown = [key for key in raw if key not in (*required, *optional)]
    missing = [key for key in required if key not in raw]
    if unknown or missing:
        wrong = {"does not know": unknown, "lacks": missing}
        said = " and ".join(f"{word} {', '.join(map(str, keys))}" for word, keys in wrong.items() if keys)
        raise InputError(f"{where} {said}; known keys: {', '.join(dict.fromkeys((*required, *optional)))}")
