"""Errors of a fitted predictor round by round, looked at after training.

An evaluation set, scored in every round, costs more than the training itself where many rows
are held out, and changes no tree. Afterwards the trees can be added up a few at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gpucv.pipelines.base import WithStages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.pipelines.base import Fitted
    from gpucv.pipelines.rows import Examples

__all__ = ["MOST_POINTS", "learning_curve"]

MOST_POINTS = 100
"""Of a curve: every third round of the published 300. Each costs a pass over the rows."""
_ROWS = 1 << 14
"""Rows looked at together: with 30 features 2 MB, which a cache holds."""


def learning_curve(
    fitted: Fitted, watching: Examples, held_out: Examples
) -> dict[str, list[float]]:
    """Score a predictor as it was after some of its rounds.

    Parameters
    ----------
    fitted : Fitted
    watching, held_out : Examples
        Validation rows, which may be none, and the rows held out.

    Returns
    -------
    dict of str to list of float
        ``round`` (from 1, at most `MOST_POINTS` of them, evenly spaced, the last among them);
        and for each ``valid_mape, test_mape`` in percent and ``valid_rmse, test_rmse`` in the
        target's unit, NaN without rows. Empty where the predictor is not made in rounds.
    """
    total = fitted.rounds() if isinstance(fitted, WithStages) else 0
    if total < 2:
        return {}
    assert isinstance(fitted, WithStages)
    rounds = np.unique(np.linspace(1, total, min(total, MOST_POINTS)).round().astype(int)).tolist()
    valid, test = (_scores(fitted, rows, rounds) for rows in (watching, held_out))
    return {
        "round": rounds,
        "valid_mape": valid[0],
        "test_mape": test[0],
        "valid_rmse": valid[1],
        "test_rmse": test[1],
    }


def _scores(
    fitted: WithStages, examples: Examples, rounds: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Return the MAPE and RMSE after each of `rounds`."""
    shares, squares = np.zeros(len(rounds)), np.zeros(len(rounds))
    for start in range(0, len(examples), _ROWS):
        inputs = replace(examples.inputs, rows=examples.inputs.rows[start : start + _ROWS])
        actual = examples.y[start : start + _ROWS]
        measured = actual != 0
        with np.errstate(over="ignore"):
            for place, predicted in enumerate(fitted.stages(inputs, rounds)):
                errors = predicted - actual
                squares[place] += errors @ errors
                shares[place] += np.abs(errors[measured] / actual[measured]).sum()
    n, n_measured = len(examples), int(np.count_nonzero(examples.y))
    mape = 100.0 * shares / n_measured if n_measured else np.full(len(rounds), np.nan)
    rmse = np.sqrt(squares / n) if n else np.full(len(rounds), np.nan)
    return mape.tolist(), rmse.tolist()
