"""What holds the repository together: one address, one list of packages, one-way imports, tables made from results."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import rgd
from tools import fill, notebooks

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_conda_environment_installs_what_pyproject_lists() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    (requirement,) = pip
    extras = set(re.fullmatch(r"-e \.\[(.+)\]", requirement).group(1).split(","))
    assert extras <= set(PROJECT["optional-dependencies"])
    assert {"test", "book"} <= extras
    (python,) = [entry.removeprefix("python") for entry in conda if entry.startswith("python")]
    assert python.startswith(PROJECT["requires-python"])
    # Anything else that conda installed would be a second list of packages.
    assert {re.split(r"[<>=]", entry)[0] for entry in conda} <= {"python", "pip", "make", "git"}


def test_the_address_of_the_repository_is_the_same_everywhere() -> None:
    address = PROJECT["urls"]["Repository"]
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert config["repository"]["url"] == address
    assert citation["repository-code"] == address
    assert f"git clone {address}" in (ROOT / "README.md").read_text()
    assert citation["version"] == PROJECT["version"]


def test_dependencies_are_ranges() -> None:
    requirements = [
        *PROJECT["dependencies"],
        *(r for extra in PROJECT["optional-dependencies"].values() for r in extra),
    ]
    pinned = [r for r in requirements if "==" in r]
    assert pinned == ["jupyter-book==1.0.4.post1"], "only the book's builder is pinned: version 2 is another program"


def test_everything_public_is_there_and_documented() -> None:
    for name in rgd.__all__:
        thing = getattr(rgd, name)
        assert (thing.__doc__ or "").strip(), f"rgd.{name} has no docstring"


def test_tables_of_the_pages_are_those_of_the_results() -> None:
    pages = fill.pages()
    assert {page.suffix for page in pages if fill.BLOCK.search(page.read_text())} == {".md", ".ipynb"}
    for page in pages:
        assert fill.filled(page) == page.read_text(), f"{page.name} is stale: run python -m tools.fill"


def test_results_say_where_they_come_from() -> None:
    files = list((ROOT / "results").glob("*.json"))
    assert files
    for file in files:
        made = json.loads(file.read_text())["provenance"]
        assert {"date", "device", "commit", "torch"} <= set(made), file.name


def test_no_address_of_the_machine_it_was_made_on() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    home = re.compile(r"(?<![\w.])/(home|Users|root|tmp|mnt)/\w")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if (
            path.suffix in {".ipynb", ".json", ".md", ".py", ".yml", ".toml"}
            and path != Path(__file__)
            and path.exists()
        ):
            found = home.search(path.read_text())
            assert not found, f"{name} holds the path {found.group()}"


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in notebook["cells"] if c["cell_type"] == "code" and "".join(c["source"]).strip()]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> tuple[Path, dict[str, Any]]:
    return request.param, json.loads(request.param.read_text())


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def test_notebook_cells_are_short_and_explained(notebook: tuple[Path, dict[str, Any]]) -> None:
    _, content = notebook
    cells = code_cells(content)
    lengths = [len("".join(c["source"]).splitlines()) for c in cells]
    words = sum(len("".join(c["source"]).split()) for c in content["cells"] if c["cell_type"] == "markdown")
    assert max(lengths) <= 25
    assert statistics.median(lengths) <= 10
    assert 70 <= words / len(cells) <= 200


def test_notebook_code_and_output_are_not_wider_than_the_page(notebook: tuple[Path, dict[str, Any]]) -> None:
    _, content = notebook
    lines = [line for cell in code_cells(content) for line in "".join(cell["source"]).splitlines()]
    assert [line for line in lines if len(line) > 84 and "pip install" not in line] == []
    printed = [o.get("text", "") for cell in code_cells(content) for o in cell["outputs"]]
    assert [line for text in printed for line in "".join(text).splitlines() if len(line) > 84] == []


def test_notebook_outputs_are_there_in_order_and_small(notebook: tuple[Path, dict[str, Any]]) -> None:
    path, content = notebook
    counts = [cell.get("execution_count") for cell in code_cells(content)]
    assert counts == list(range(1, len(counts) + 1)), "run it from a fresh kernel, top to bottom, and save"
    assert path.stat().st_size < 1_000_000
    outputs = [output for cell in code_cells(content) for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert any(o.get("data", {}).get("image/png") for o in outputs)


def test_notebook_figures_have_alt_text_and_captions(notebook: tuple[Path, dict[str, Any]]) -> None:
    _, content = notebook
    for cell in code_cells(content):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            shown = cell["metadata"].get("mystnb", {})
            assert len(shown.get("image", {}).get("alt", "")) > 20, "".join(cell["source"])[:80]
            assert len(shown.get("figure", {}).get("caption", "")) > 20, "".join(cell["source"])[:80]


def test_notebook_begins_with_the_set_up_cell(notebook: tuple[Path, dict[str, Any]]) -> None:
    _, content = notebook
    first, *others = code_cells(content)
    source = "".join(first["source"])
    assert "google.colab" in source
    # No name before the address: pip would hold it against that of the distribution.
    assert f'%pip install -q "git+{PROJECT["urls"]["Repository"]}@v{PROJECT["version"]}"\n' in source
    assert not any("google.colab" in "".join(c["source"]) or "pip install" in "".join(c["source"]) for c in others)


def test_notebook_declares_its_cost(notebook: tuple[Path, dict[str, Any]]) -> None:
    _, content = notebook
    measured = content["metadata"]["rgd"]["measured"]
    for profile in ("ci", "cpu"):
        assert measured[profile]["seconds"] > 0
        assert measured[profile]["megabytes"] > 0
    assert measured["ci"]["seconds"] <= 60
    assert notebooks.cost(measured) in "".join(content["cells"][0]["source"])
