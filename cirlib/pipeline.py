"""What a notebook of the pipeline depends on. The Snakefile asks; nothing is run from here."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from cirlib.config import Config
from cirlib.types import InputError

PACKAGE = "cirlib"


def planned_notebooks(config: Config) -> list[str]:
    """Names of the notebooks that `config.yaml` lists and `notebooks/` holds, in reading order.

    Raises:
        InputError: If `notebooks/` holds a notebook that `config.yaml` does not list: it would never run.
    """
    present = {path.stem for path in (config.root / "notebooks").glob("*.ipynb")}
    unlisted = sorted(present - set(config.notebooks))
    if unlisted:
        raise InputError(f"notebooks/{unlisted[0]}.ipynb is not listed in config.yaml; add it to notebooks there, or it never runs")
    return [name for name in config.notebooks if name in present]


def needed_notebooks(config: Config, name: str) -> list[str]:
    """Notebooks whose results `name` reads, of those that are there; more methods add themselves to a table as their notebooks arrive."""
    present = planned_notebooks(config)
    return [need for need in config.notebooks[name].needs if need in present]


def source_files(config: Config, name: str) -> list[str]:
    """Files that the results of a notebook depend on, relative to the project: library modules, their data files, and what it `reads`.

    Modules are followed import by import, so that work on one method leaves the results of the others alone. Where imports cannot be
    followed (a bare `import cirlib`, a relative or dynamic import), everything counts. Folders that are not there yet are left out; a
    missing file stays in, so that Snakemake names it.
    """
    root = config.root
    modules = _imported_modules(root, f"notebooks/{name}.ipynb")
    folders = {path.parent for path in modules}
    data = [path for folder in folders for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")]
    reads = [path for entry in config.notebooks[name].reads for path in _files(root / entry)]
    return sorted({path.relative_to(root).as_posix() for path in (*modules, *data, *reads)})


def _files(path: Path) -> list[Path]:
    """All files below a folder; the path itself where it is none."""
    if path.suffix and not path.is_dir():
        return [path]
    return [file for file in path.rglob("*") if file.is_file()]


def _imported_modules(root: Path, notebook: str) -> set[Path]:
    every = {path for path in (root / PACKAGE).rglob("*.py")}
    found: set[Path] = set()
    waiting = list(_imports(_code_of(root / notebook)))
    while waiting:
        name = waiting.pop()
        if name is None:
            return every
        for path in _module_files(root, name) - found:
            found.add(path)
            waiting.extend(_imports(path.read_text(encoding="utf-8")))
    return found


def _code_of(notebook: Path) -> str:
    """Code of a notebook as one Python text; lines of IPython magic are left out."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "code" for line in ("".join(cell["source"]) + "\n").splitlines()]
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def _imports(code: str) -> Iterator[str | None]:
    """Dotted names of ours that a text imports; None where an import cannot be followed."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for name in (alias.name for alias in node.names):
                if name.split(".")[0] == PACKAGE:
                    yield name if name != PACKAGE else None
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield None
            elif node.module and node.module.split(".")[0] == PACKAGE:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and node.attr == "import_module":
            yield None


def _module_files(root: Path, name: str) -> set[Path]:
    """Files that importing `name` runs: the packages above it and the module itself; the last part may be a name inside a module."""
    parts = name.split(".")
    files = set()
    for depth in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:depth])
        files |= {file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()}
    return files
