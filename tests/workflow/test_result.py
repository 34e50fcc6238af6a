from __future__ import annotations

import re
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
    assert repr(loaded.verdicts) == repr(result.verdicts)  # which takes NaN for NaN
    assert loaded.verdict is loaded.verdicts[0]
    assert {**loaded.manifest, "outputs": {}} == {**result.manifest, "outputs": {}}


def test_a_result_names_itself(run: Run) -> None:
    result = run()
    expected = f"<Result 'few-steps': {result.verdict.label}, 4 of 4 folds, in '{result.path}'>"
    assert repr(result) == expected
    assert result.n_failed == 0


def test_a_notebook_shows_the_verdict_the_means_and_the_place(run: Run) -> None:
    result = run(predictors=[{"name": "constant"}, {"params": {"n_estimators": 5}}])
    shown = result._repr_html_()
    assert f"few-steps: {result.verdict.label}." in shown
    assert f"<code>{result.path}</code>" in shown
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in shown.split("<tr>")[2:]]
    lomo = result.folds[(result.folds["scheme"] == "lomo")]
    for row, predictor in ((cells[0], "constant"), (cells[2], "xgboost")):
        folds = lomo[lomo["predictor"] == predictor]
        worst = folds.loc[folds["test_mape"].idxmax()]
        assert row[0] == predictor
        assert row[2:] == [
            "lomo",
            "n = 2 of 2",
            f"{folds['test_mape'].sum() / 2:.1f}",
            worst["holdout"],
            f"{worst['test_mape']:.1f}",
        ]
    assert [row[2] for row in cells] == ["lomo", "lowo", "lomo", "lowo"]
    assert "TRIAL" not in shown


def test_a_mean_over_three_folds_stands_with_its_interval(run: Run) -> None:
    by_experiment = [{"name": "each", "hold_out": "experiment_id"}]
    result = run(schemes=by_experiment, predictors=[{"name": "constant"}])
    (summary,) = result.verdict.schemes
    low, high = summary.intervals["test_mape"]
    told = f"{result.folds['test_mape'].mean():.1f} [{low:.1f}, {high:.1f}]"
    assert f">{told}</td>" in result._repr_html_()


def test_a_notebook_is_told_of_a_trial_and_of_failed_folds(run: Run) -> None:
    result = run(limit=30)
    result.folds.loc[0, "status"] = "failed"
    shown = result._repr_html_()
    assert "TRIAL RUN. Only the first 30 steps" in shown
    assert "1 of 4 folds failed." in shown


def test_no_name_can_speak_to_a_notebook(run: Run) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    labels = [f"{hostile}{number}" for number in range(7)]
    result = run(name=hostile, predictors=[{"name": "constant", "label": each} for each in labels])
    shown = result._repr_html_()
    assert "<script" not in shown
    assert "\u202e" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert shown.count("<tr>") == 1 + 12
    assert "2 more rows follow in verdict.json" in shown


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
    names = ["Result", "__version__", "audit", "compare", "load_study", "resume", "run"]
    assert dir(gpucv) == names
    assert all(getattr(gpucv, name) is not None for name in dir(gpucv))
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        _ = gpucv.rum  # type: ignore[attr-defined]


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("gpucv").joinpath("py.typed").is_file()
