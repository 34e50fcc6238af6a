"""The error no model can go below: how far repeats of one shape lie apart.

Rows of one experiment (or of one group of a measurement table) with equal shapes differ
by noise and by whatever the columns do not tell. Two errors bracket what a perfect model
of these columns would score (MAPE, percent):

- *fitted*: each group is predicted by the constant c that minimises its mean of
  ``|y - c| / y``, which is the median of y weighted by 1/y. It has seen every row, so
  it is too low: of two repeats it halves their distance.
- *leave-one-out*: each row is predicted by that constant of the other rows of its group.
  It carries the noise of the constant too, so it is too high.

The headline is the geometric mean of the two, taken for each number of repeats apart. For
Gaussian noise and n repeats, the fitted error is the true one times sqrt((n-1)/n) and the
other times sqrt(n/(n-1)) when c is a mean; the product is free of n, so pairs and large
groups may be pooled. For medians of n = 2, 3 and 4 the same holds within 0.1 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.traces.audit.groupwise import starts_of
from gpucv.traces.audit.result import Judgement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.audit.subject import Subject

__all__ = ["noise_floor", "repeat_errors"]

FEWEST_ROWS = 20
"""Repeated rows below which no floor is stated."""


def noise_floor(subject: Subject, target: str) -> Judgement | None:
    """Measure the noise floor of a target; it judges nothing.

    Step tables group by experiment and batch (prefill and decode tokens and requests; the
    KV cache is what the batch does not tell) and by the scope's features; other tables by
    all that tells one measured point from another.
    """
    columns = _columns(subject)
    times = subject.times(target)
    known = np.isfinite(times)
    figures: dict[str, Any] = {}
    reason = ""
    if columns and known.any():
        fitted, left_out, size = repeat_errors(subject.marks(columns)[known], times[known])
        if len(size) >= FEWEST_ROWS:
            floor = _pooled(fitted, left_out, size)
            figures["noise_floor"] = {
                "mape": 100 * floor,
                "fitted_mape": 100 * float(fitted.mean()),
                "leave_one_out_mape": 100 * float(left_out.mean()),
                "rows": len(size),
                "groups": round(float((1 / size).sum())),
                "share_of_rows": len(size) / int(known.sum()),
                "by": list(columns),
            }
            reason = (
                f"no model of these columns goes below a MAPE of about {100 * floor:.2g} % "
                f"(between {100 * fitted.mean():.2g} and {100 * left_out.mean():.2g} %): "
                f"{len(size):,} rows repeat a shape"
            )
    spread = _recorded_spread(subject, target, known)
    if spread:
        figures["recorded_spread"] = spread
    return Judgement("info", reason, figures)


def _columns(subject: Subject) -> tuple[str, ...]:
    if subject.is_steps:
        own = (subject.scope.experiment,) if subject.scope.experiment in subject else ()
        columns = (*(own or subject.groups), *subject.shapes, *subject.scope.features)
        return tuple(dict.fromkeys(columns))
    return subject.point


def _pooled(
    fitted: NDArray[np.float64], left_out: NDArray[np.float64], size: NDArray[np.int64]
) -> float:
    """Return the mean over rows of the geometric mean, taken for each group size apart."""
    sizes = np.unique(size, return_inverse=True)[1]
    products = np.bincount(sizes, fitted) * np.bincount(sizes, left_out)
    return float(np.sqrt(products).sum() / len(size))


def repeat_errors(
    keys: NDArray[Any], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return fitted and leave-one-out ``|y - c| / y`` and group size of every repeated row.

    Parameters
    ----------
    keys : ndarray, shape (n_rows,)
        Rows of equal keys are repeats.
    values : ndarray, shape (n_rows,)
        Finite and positive.

    Returns
    -------
    ndarray, ndarray, ndarray
        Of the rows in groups of two or more, sorted by key and value.
    """
    order = np.lexsort((values, keys))
    keys, values = keys[order], values[order]
    counts = np.diff(np.append(starts_of(keys), len(keys)))
    repeated = np.repeat(counts > 1, counts)
    values, counts = values[repeated], counts[counts > 1]
    if not len(values):
        return values, values, counts
    size = np.repeat(counts, counts)
    group = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    last = first + size - 1
    weight = 1 / values
    weight /= np.bincount(group, weight)[group]
    # Each group weighs 1, so group g spans g to g + 1 of one cumulative sum over all rows.
    reached = np.cumsum(weight)
    fitted = np.clip(np.searchsorted(reached, group + 0.5), first, last)
    here = np.arange(len(values))
    # Without row i the half lies at (1 - w_i) / 2, counted up to i as before and after i
    # from w_i on.
    below = np.clip(np.searchsorted(reached, group + (1 - weight) / 2), first, last)
    above = np.clip(np.searchsorted(reached, group + (1 + weight) / 2), first, last)
    above = np.where(above <= here, np.minimum(here + 1, last), above)
    other = np.where(below < here, below, above)
    other = np.where(other == here, here - 1, other)
    errors = (np.abs(values - values[at]) / values for at in (fitted, other))
    return (*errors, size)  # type: ignore[return-value]


def _recorded_spread(
    subject: Subject, target: str, known: NDArray[np.bool_]
) -> dict[str, float] | None:
    """Return the recorded standard deviation over the target, where a column gives it."""
    name = f"{target.removesuffix('_us')}_std_us"
    if name not in subject or not subject.is_number(name):
        return None
    with np.errstate(invalid="ignore"):
        ratio = subject.numbers(name)[known] / subject.times(target)[known]
    ratio = ratio[np.isfinite(ratio) & (ratio >= 0)]
    if not len(ratio):
        return None
    return {
        "median_percent": 100 * float(np.median(ratio)),
        "mean_percent": 100 * float(ratio.mean()),
        "rows": len(ratio),
    }
