"""The form of every notebook: what stands where, how long it is, what it may not do. The pipeline tests that they run."""

import ast
import json
import re
import statistics
from pathlib import Path

import pytest

from cirlib.config import load_config

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PARAMETERS = {"profile": "mini", "seed": 0, "device": "auto", "out_dir": "../results"}
FORBIDDEN = {
    r"^\s*[!%](?!matplotlib|config|load_ext)": "shell commands and magics",
    r"https?://|urlopen|requests\.|snapshot_download": "the network",
    r"""["'](/|~/|[A-Z]:\\)""": "absolute paths",
    r"\bchdir\b": "a change of folder",
    r"^\s*(from|import) (open_clip|transformers|diffusers|torchvision)": "libraries that cirlib.backbones wraps",
}


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def words(cell):
    return len(source(cell).split())


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def cells(notebook):
    return notebook["cells"]


@pytest.fixture
def code(cells):
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def text(cells):
    return [cell for cell in cells if cell["cell_type"] == "markdown"]


def test_there_are_notebooks_and_the_pipeline_knows_them():
    assert NOTEBOOKS
    assert {path.stem for path in NOTEBOOKS} <= set(load_config("smoke", FOLDER.parent / "config.yaml").notebooks)


def test_it_is_stored_without_outputs(notebook, code):
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), "run make format"
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_it_opens_with_card_goals_parameters_setup(path, cells):
    number, name = int(path.stem[:2]), path.stem
    assert [cell["cell_type"] for cell in cells[:4]] == ["markdown", "markdown", "code", "code"]
    card, goals, parameters, setup = map(source, cells[:4])
    assert card.startswith(f"# {number}  "), "the title is '# N  Title'"
    for row in ("**Needs**", "**Reads**", "**Writes**", "**Time**", f"metrics/{name}.json"):
        assert row in card
    assert goals.startswith("In this notebook you will") and goals.count("\n- ") >= 3
    assert tags(cells[2]) == ["parameters"] and sum("parameters" in tags(cell) for cell in cells) == 1
    assert f'start_run("{name}", profile, seed=seed, device=device, out_dir=out_dir)' in setup
    assert len(setup.splitlines()) <= 15


def test_parameters_are_literals_that_run_by_hand(cells):
    values = {}
    for node in ast.parse(source(cells[2])).body:
        assert isinstance(node, ast.Assign) and len(node.targets) == 1, "parameters are plain assignments"
        values[node.targets[0].id] = ast.literal_eval(node.value)
    assert PARAMETERS.items() <= values.items()
    assert None not in values.values()


def test_code_cells_are_short(code):
    lines = [len(source(cell).splitlines()) for cell in code]
    assert max(lines) <= 40 and statistics.median(lines) <= 8
    assert sum(count <= 25 for count in lines) >= 0.95 * len(lines)
    for cell in code:
        for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*", "", source(cell), flags=re.MULTILINE))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < 12, f"{node.name} belongs in cirlib"


def test_text_carries_the_notebook(path, code, text):
    assert len(text) >= len(code)
    assert max(map(words, text)) <= 250
    assert 800 <= sum(map(words, text)) <= 4500
    number = int(path.stem[:2])
    sections = [line for cell in text for line in source(cell).splitlines() if line.startswith("## ")]
    assert [line.split()[1] for line in sections] == [f"{number}.{position}" for position in range(1, len(sections) + 1)]


def test_the_reader_predicts_before_running(text):
    assert sum("**Predict" in source(cell) for cell in text) >= 2


def test_figures_are_shown(cells):
    """Figures are made without pyplot, so the notebook has to ask for them to be displayed."""
    if any("save_figure(" in source(cell) for cell in cells):
        assert source(cells[3]).startswith("%matplotlib inline")


def test_every_figure_is_read(cells):
    for position, cell in enumerate(cells):
        if cell["cell_type"] == "code" and "save_figure(" in source(cell):
            following = next((later for later in cells[position + 1 :] if later["cell_type"] == "markdown"), None)
            assert following and source(following).startswith("**Reading"), f"no reading after: {source(cell)[:60]}"


def test_it_keeps_to_the_house_rules(code):
    for cell in code:
        for pattern, what in FORBIDDEN.items():
            assert not re.search(pattern, source(cell), re.MULTILINE), f"notebooks do without {what}: {source(cell)[:60]}"


def test_it_ends_with_exercises_takeaways_and_checks(cells):
    headings = [line for cell in cells if cell["cell_type"] == "markdown" for line in source(cell).splitlines() if line.startswith("## ")]
    assert headings[-2].endswith("Exercises") and headings[-1].endswith("Takeaways")
    assert "exercise" in {tag for cell in cells for tag in tags(cell)}
    for cell in cells:
        if "exercise" in tags(cell):
            solution, begins, rest = source(cell).partition("# END SOLUTION")
            assert "# BEGIN SOLUTION" in solution and begins and "assert" in rest, "a solution between its marks, then its own assert"
    assert "checks" in tags(cells[-1]) and source(cells[-1]).count("assert") >= 2
    assert sum("run.save_metrics(" in source(cell) for cell in cells) == 1
