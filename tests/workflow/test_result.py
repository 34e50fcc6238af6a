from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import gpucv
from gpucv.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]


def test_a_run_loads_as_it_was_returned(run: Run) -> None:
    result = run(predictors=[{"name": "constant"}, {"params": {"n_estimators": 5}}])
    loaded = gpucv.Result.load(result.path)
    for table in ("folds", "experiments", "importance", "stability", "predictions"):
        pd.testing.assert_frame_equal(
            getattr(loaded, table), getattr(result, table), check_exact=True, obj=table
        )
    assert loaded.verdicts == result.verdicts
    assert loaded.verdict == result.verdicts[0]
    assert {**loaded.manifest, "outputs": {}} == {**result.manifest, "outputs": {}}


def test_a_result_names_itself(run: Run) -> None:
    result = run()
    expected = f"<Result 'few-steps': {result.verdict.label}, 4 of 4 folds, in '{result.path}'>"
    assert repr(result) == expected
    assert result.n_failed == 0


@pytest.mark.parametrize("status", ["running", "interrupted", "stopped"])
def test_an_unfinished_run_is_not_a_result(run: Run, status: str) -> None:
    manifest = run().path / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"finished"', f'"{status}"'), encoding="utf-8")
    with pytest.raises(RunError, match=f"is {status}, not finished; run: gpucv resume"):
        gpucv.Result.load(manifest.parent)


@pytest.mark.parametrize("name", ["folds.csv", "experiments.csv", "stability.csv", "verdict.json"])
def test_a_run_that_lacks_a_table_is_not_a_result(run: Run, name: str) -> None:
    root = run().path
    (root / name).unlink()
    with pytest.raises(RunError, match=name):
        gpucv.Result.load(root)


def test_a_folder_that_is_no_run_is_not_a_result(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is this a run folder"):
        gpucv.Result.load(tmp_path)


def test_the_package_lists_and_loads_its_public_names() -> None:
    assert dir(gpucv) == ["Result", "__version__", "audit", "load_study", "resume", "run"]
    assert all(getattr(gpucv, name) is not None for name in dir(gpucv))
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        _ = gpucv.rum  # type: ignore[attr-defined]


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("gpucv").joinpath("py.typed").is_file()
