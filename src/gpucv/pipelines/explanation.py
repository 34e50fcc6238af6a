"""Which features a fitted pipeline goes by on rows it has never seen.

Gain, the usual importance, is counted on the rows learnt from. The two measures here are
taken on rows held out, on few of them: they must cost little beside the fit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.frames import to_host
from gpucv.metrics import mape
from gpucv.pipelines.base import WithContributions, answer
from gpucv.pipelines.rows import Examples, Inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gpucv.machine import Device
    from gpucv.pipelines.base import Fitted, ViewColumns
    from gpucv.splits import GroupLabels

__all__ = ["PERMUTED_ROWS", "explain"]

PERMUTED_ROWS = 200
"""Rows whose features are shuffled: of the embedded study, 1.3 % of a fold's time."""
_SHAP_ROWS = (8, 2_000)
"""Fewer rows say nothing, more say nothing new."""
_LEAST_WORK = 3e7
_WORK_PER_ROW = 300.0
"""What SHAP values may cost: so much for each row learnt from, and that least in any case.
In nodes times squared depth, of which a core of 2024 does about 0.65e9 a second; of the
embedded study that makes 31 rows and 2 % of a fold's time. Its shares are then within 0.05
(summed over all features) of those of 2,000 rows."""
_STACKED_VALUES = 1 << 22
"""Values of shuffled rows predicted together: 16 MiB."""


def explain(
    fitted: Fitted,
    held_out: Examples,
    columns: ViewColumns,
    *,
    n_learnt: int,
    seed: int,
    device: Device = "cpu",
) -> list[dict[str, Any]]:
    """Measure what each feature does for predictions of rows held out.

    Parameters
    ----------
    fitted : Fitted
    held_out : Examples
        Rows and their targets, read to measure an error, never to fit.
    columns : ViewColumns
        The features the predictor reads.
    n_learnt : int
        Rows it learnt from; SHAP values may cost in proportion to them.
    seed : int
        Decides which rows, and how they are shuffled.
    device : {"cpu", "cuda"}
        Where the table's rows may be gathered.

    Returns
    -------
    list of dict
        For each feature ``feature``; ``shap``: the mean absolute SHAP value, in what the
        predictor learns (its transform of the target), as share of the sum over features,
        left out where not known; ``permutation``: by how many points the MAPE of the times rises
        when the feature is shuffled among the rows; ``n_shap`` and ``n_permutation``: rows.

    Notes
    -----
    SHAP values are those of the trees' paths (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9),
    as XGBoost computes them. Permutation importance is Breiman's (2001,
    doi:10.1023/A:1010933404324), measured on rows held out. Rows are drawn evenly by rank of
    their target: few then stand for all. Shuffling one of several features that go together
    makes rows that never occur, and the others may answer for it.
    """
    if not columns.positions or not len(held_out):
        return []
    order = np.argsort(held_out.y, kind="stable")
    random = np.random.default_rng(seed)
    n = min(PERMUTED_ROWS, len(held_out))
    shuffled = _gathered(held_out.take(_evenly(order, n, random)), device)
    rises = _rises(fitted, shuffled, columns.positions, random)
    shares, n_shap = _shap(fitted, held_out, order, n_learnt, random)
    return [
        {
            "feature": name,
            **({"shap": shares[name]} if shares else {}),
            **({} if np.isnan(rise) else {"permutation": rise}),
            **{"n_shap": n_shap, "n_permutation": n},
        }
        for name, rise in zip(columns.names, rises, strict=True)
    ]


def _evenly(order: NDArray[np.intp], n: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw `n` places along `order`, one in each of `n` parts of equal length."""
    at = (np.arange(n) + random.random()) * len(order) / n
    return order[at.astype(np.intp)]


def _shap(
    fitted: Fitted,
    held_out: Examples,
    order: NDArray[np.intp],
    n_learnt: int,
    random: np.random.Generator,
) -> tuple[dict[str, float], int]:
    """Return each feature's share of the absolute SHAP values, and of how many rows."""
    work = fitted.contribution_work() if isinstance(fitted, WithContributions) else 0.0
    least, most = _SHAP_ROWS
    if not work:
        return {}, 0
    n = min(int(max(_LEAST_WORK, _WORK_PER_ROW * n_learnt) / work), most, len(order))
    if n < min(least, len(order)):
        return {}, 0
    assert isinstance(fitted, WithContributions)
    found = fitted.contributions(held_out.inputs.take(_evenly(order, n, random)))
    sizes = {name: float(np.abs(values).mean()) for name, values in found.items()}
    total = sum(sizes.values())
    return {name: size / total if total else 0.0 for name, size in sizes.items()}, n


def _gathered(examples: Examples, device: Device) -> Examples:
    """Return examples whose inputs hold their own rows and no others."""
    inputs = examples.inputs
    every = range(inputs.matrix.shape[1])
    return Examples(
        Inputs(
            matrix=to_host(inputs.features(every, device)),
            light=inputs.sol_us,
            keys=_labels(inputs.keys, inputs.rows),
            rows=np.arange(len(inputs)),
        ),
        examples.y,
    )


def _labels(keys: Mapping[str, GroupLabels], rows: NDArray[np.intp]) -> dict[str, GroupLabels]:
    return {name: replace(labels, codes=labels.codes[rows]) for name, labels in keys.items()}


def _rises(
    fitted: Fitted, examples: Examples, columns: Sequence[int], random: np.random.Generator
) -> list[float]:
    """Return by how many points the MAPE rises when each of `columns` is shuffled."""
    inputs, n = examples.inputs, len(examples)
    whole = mape(examples.y, to_host(answer(fitted, inputs)))
    at_once = max(1, _STACKED_VALUES // max(1, inputs.matrix.size))
    rises: list[float] = []
    for start in range(0, len(columns), at_once):
        some = columns[start : start + at_once]
        rows = np.tile(np.arange(n), len(some))
        matrix = inputs.matrix[rows]
        for place, column in enumerate(some):
            here = slice(place * n, (place + 1) * n)
            matrix[here, column] = inputs.matrix[random.permutation(n), column]
        stacked = Inputs(
            matrix=matrix,
            light=None if inputs.light is None else inputs.light[rows],
            keys=_labels(inputs.keys, rows),
            rows=np.arange(len(rows)),
        )
        predicted = to_host(answer(fitted, stacked)).reshape(len(some), n)
        rises += [mape(examples.y, each) - whole for each in predicted]
    return rises
