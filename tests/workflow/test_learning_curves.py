"""learning_curves.csv: there where the study asks for it, and nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpucv
from gpucv.analysis import LEARNING_CURVE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., gpucv.Result]
    Results = Callable[..., dict[str, bytes]]

CURVE: dict[str, Any] = {"validation": {"evaluate": "curve"}}


def test_every_fold_has_a_row_a_round_and_its_last_is_its_score(run: Run) -> None:
    result = run(**CURVE)
    written = pd.read_csv(result.path / "learning_curves.csv")
    assert list(written.columns) == list(LEARNING_CURVE_COLUMNS)
    assert written["round"].tolist() == [1, 2, 3, 4, 5] * 4
    last = written[written["round"] == 5]
    for name in ("valid_mape", "test_mape"):
        assert last[name].tolist() == pytest.approx(result.folds[name].tolist(), rel=1e-9)
    again = gpucv.Result.load(result.path).learning_curves
    assert again is not None
    pd.testing.assert_frame_equal(again, result.learning_curves)


def test_nothing_else_of_a_run_changes_and_without_it_there_is_no_such_file(
    run: Run, results_of: Results
) -> None:
    end = run("end")
    assert not (end.path / "learning_curves.csv").exists()
    assert end.learning_curves is None
    run("curve", **CURVE)
    assert results_of("curve") == results_of("end")
