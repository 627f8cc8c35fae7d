"""What the README promises: its example runs as it stands, its files exist, its numbers are those of the results."""

import contextlib
import io
import re

import pytest


@pytest.fixture(scope="module")
def readme(request):
    return (request.config.rootpath / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_it_stands(readme):
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    assert len(example.strip().splitlines()) <= 15
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    shares = dict(re.findall(r"^(image only|text only|sum) +R@10 +([\d.]+)%", printed.getvalue(), re.MULTILINE))
    assert float(shares["sum"]) > max(float(shares["image only"]), float(shares["text only"]))


def test_every_file_that_it_links_to_is_there(readme, repo_root):
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if not link.startswith("http")]
    assert links
    missing = [link for link in links if not (repo_root / link).exists()]
    assert not missing


def test_the_table_is_the_one_of_the_results(readme, repo_root):
    """The README's table is pasted from the results: the same lines, so that no number can go stale."""
    table = (repo_root / "results/mini/tables/09_atelier-test.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- results -->")[2].partition("<!-- end -->")[0]
    assert [line for line in table.splitlines() if line.startswith("|")] == [line for line in shown.splitlines() if line.startswith("|")]
