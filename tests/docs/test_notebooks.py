"""The notebooks run from top to bottom as plain scripts, without a warning."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


def run(notebook: Path, folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["python", "-W", "error", str(notebook)]
    return subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_prints_what_it_found(
    notebook: Path,
    checkout: Path,
    environment: Callable[[], dict[str, str]],
    request: pytest.FixtureRequest,
) -> None:
    settings = environment()
    if "GPUCV_SHARED_DATA" in notebook.read_text(encoding="utf-8"):
        settings["GPUCV_SHARED_DATA"] = str(request.getfixturevalue("shared_data"))
    done = run(notebook, checkout, settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 5


def test_a_notebook_without_its_data_says_where_to_put_it(
    tmp_path: Path, environment: Callable[[], dict[str, str]]
) -> None:
    settings = {**environment(), "GPUCV_SHARED_DATA": str(tmp_path / "none")}
    done = run(ROOT / "docs" / "notebooks" / "formulations.py", tmp_path, settings)
    assert done.returncode == 1
    assert "set GPUCV_SHARED_DATA" in done.stderr


def test_there_are_three_notebooks_of_cells() -> None:
    assert len(NOTEBOOKS) == 3
    for notebook in NOTEBOOKS:
        text = notebook.read_text(encoding="utf-8")
        ast.parse(text)
        assert text.startswith("# %% [markdown]\n# # ")
        assert text.count("\n# %%") > 4
