"""The package's shape: imports point downwards, importing is free, heavy libraries have one door each."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "cirlib"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Floor of each module or folder directly below cirlib/. A private file (_name.py) is at floor 0. A module imports from lower floors and
# from its own folder; types and private files may be imported from anywhere; `evaluation` knows types and kernels only.
FLOORS = {
    "types": -1,
    "kernels": 0,
    "data": 1,
    "backbones": 1,
    "methods": 2,
    "evaluation": 2,
    "config": 3,
    "runs": 3,
    "pipeline": 3,
    "environment": 3,
    "index": 3,
    "viz": 3,
    "bench": 3,
    "card_numbers": 3,
    "cards": 3,
    "vlm_card": 3,
    "qformer_card": 3,
    "diffusion_card": 3,
    "claims": 3,
    "costs": 3,
    "benchmarks": 3,
    "results": 3,
    "suite": 3,
    "ablations": 3,
    "explore": 4,
    "commands": 5,
    "cli": 6,
}
ALLOWED_SIDEWAYS = {
    *((card, "card_numbers") for card in ("cards", "vlm_card", "qformer_card", "diffusion_card")),
    ("benchmarks", "config"),
    ("results", "runs"),
    ("suite", "config"),
    ("suite", "results"),
    ("backbones", "data"),
    ("runs", "config"),
    ("pipeline", "config"),
    ("environment", "runs"),
    ("environment", "config"),
    ("bench", "runs"),
    ("bench", "config"),
}
BUILDS_ON = {"map_to_compose": "pseudo_words"}  # stage 1 is a mapper of pseudo-words with an injection
DOORS = {
    "open_clip": ("backbones/",),
    "transformers": ("backbones/",),
    "diffusers": ("backbones/",),
    "torchvision": ("backbones/", "data/transforms.py", "_torchvision.py", "environment.py"),
    "triton": ("kernels/",),
    "gradio": ("explore/page.py", "explore/server.py"),
    "faiss": ("index.py", "index/", "bench/"),
}


@functools.cache
def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path):
    """Whole dotted name of everything that a file imports, wherever in it."""
    names = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write whole names, not relative imports"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def area(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor(name):
    return 0 if name.startswith("_") else FLOORS[name]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_downwards(path):
    here = area(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "cirlib" or len(parts) == 1 or here == "__init__":
            continue
        there = parts[1]
        if there == "__version__" or there == here or (here, there) in ALLOWED_SIDEWAYS:
            continue
        assert there in FLOORS or there.startswith("_"), f"{here} imports cirlib.{there}, which has no floor; give it one above"
        assert floor(there) < floor(here) or there.startswith("_"), (
            f"{here} (floor {floor(here)}) imports cirlib.{there} (floor {floor(there)})"
        )
        if here == "evaluation":
            assert floor(there) <= 0, f"evaluation imports cirlib.{there}; it may know types and kernels only"


def test_a_method_imports_no_other_method():
    """Each folder in methods/ is a family; files beside the folders hold what families share."""
    families = {path.name for path in (PACKAGE / "methods").iterdir() if path.is_dir()}
    for path in (PACKAGE / "methods").rglob("*.py"):
        here = path.relative_to(PACKAGE / "methods").with_suffix("").parts[0]
        others = {f"cirlib.methods.{family}" for family in families - {here, BUILDS_ON.get(here)}}
        for name in imports(path):
            assert ".".join(name.split(".")[:3]) not in others, f"{path.name} imports {name}; share through a file beside the folders"


@pytest.mark.parametrize("library", DOORS)
def test_heavy_libraries_have_one_door(library):
    for path in MODULES:
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(DOORS[library]):
            assert all(name.split(".")[0] != library for name in imports(path)), f"{place} imports {library}; use {DOORS[library]}"


def test_every_module_has_a_docstring_and_is_short():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(parse(path)), f"{path} has no docstring"
        limit = 350 if area(path) == "kernels" else 300
        assert text.count("\n") <= limit, f"{path} has more than {limit} lines; split it by nouns"


def test_functions_are_short():
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef) and area(path) != "kernels":
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                lines = node.end_lineno - first.lineno + 1
                assert lines <= 60, f"{path}: {node.name} has {lines} lines below its docstring"


def run_python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)


def test_importing_cirlib_is_free():
    code = """
import sys
before = set(sys.modules)
import cirlib
heavy = {"torch", "numpy", "PIL", "transformers", "torchvision"} & (set(sys.modules) - before)
assert not heavy, heavy
"""
    done = run_python(code)
    assert done.stdout == done.stderr == ""


@pytest.mark.slow
def test_importing_any_module_has_no_side_effects():
    door = DOORS["gradio"]  # importing Gradio draws from random's generator; nothing but the command imports what imports it
    paths = [path for path in MODULES if path.relative_to(PACKAGE).as_posix() not in door]
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    code = f"""
import importlib, random, sys, warnings
import numpy as np, torch
warnings.simplefilter("ignore")  # what other libraries say about each other is not ours
random.seed(1); torch.manual_seed(1); np.random.seed(1)
before = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()
for name in {[name for name in modules if name != "cirlib.__main__"]!r}:
    importlib.import_module(name)
assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1]) and (np.random.get_state()[1] == before[2]).all()
assert not torch.cuda.is_initialized()
print(sorted({{"open_clip", "transformers", "diffusers", "triton", "torchvision"}} & set(sys.modules)))
"""
    assert run_python(code).stdout.strip() == "[]", "imported at the top of a module; import it where it is used"
