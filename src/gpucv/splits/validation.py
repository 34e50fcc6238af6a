"""Which of a fold's training rows feed the fit, and which only watch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import SplitError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gpucv.splits.groups import GroupLabels, Split
    from gpucv.study import ValidationSpec

__all__ = ["split_validation"]


def split_validation(
    split: Split,
    spec: ValidationSpec,
    keys: Mapping[str, GroupLabels],
    *,
    experiment: str,
    seed: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split training rows into those to fit on and those to validate on.

    Parameters
    ----------
    split : Split
        Its `train` in (experiment, step) order; where it says itself which rows validate,
        those do. In sample, all rows are fitted to, those that validate among them.
    spec : ValidationSpec
    keys : mapping of str to GroupLabels
    experiment : str
        The column that names a recording.
    seed : int
        Draws the groups where ``spec.order`` is "group".

    Returns
    -------
    fit, valid : ndarray of intp
        Together ``split.train``, each in ascending order; disjoint unless in sample.

    Raises
    ------
    SplitError
        If nothing would be left to fit on, or early stopping would have nothing to watch.
    """
    train = split.train
    if split.valid is not None:
        valid = split.valid
        fit = train[~np.isin(train, valid)]
    elif spec.order == "experiment":
        cut = len(train) - int(len(train) * spec.fraction)
        fit, valid = train[:cut], train[cut:]
    elif spec.order == "time":
        tail = _tail_of_each(keys[experiment].codes[train], spec.fraction)
        fit, valid = train[~tail], train[tail]
    else:
        held = _whole_groups(keys[spec.group], train, spec.fraction, seed)
        fit, valid = train[~held], train[held]
    if split.in_sample:
        fit = train
    if not len(fit):
        msg = (
            f"validation takes all {len(train)} training rows (order {spec.order!r}, "
            f"fraction {spec.fraction}); use a smaller fraction or another order"
        )
        raise SplitError(msg)
    if spec.early_stopping_rounds and not len(valid):
        msg = (
            f"early stopping has nothing to watch: fraction {spec.fraction} of {len(train)} "
            f"training rows (order {spec.order!r}) is no row; use a larger fraction"
        )
        raise SplitError(msg)
    return fit, valid


def _tail_of_each(codes: NDArray[np.int32], fraction: float) -> NDArray[np.bool_]:
    """Mark the last ``int(n * fraction)`` rows of every experiment."""
    _, group, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    by_group = np.argsort(group, kind="stable")
    position = np.empty(len(codes), dtype=np.int64)  # of each row within its experiment
    position[by_group] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first_of_tail = sizes - (sizes * fraction).astype(np.int64)
    tail: NDArray[np.bool_] = position >= first_of_tail[group]
    return tail


def _whole_groups(
    labels: GroupLabels, train: NDArray[np.intp], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Mark whole groups, in a drawn order, until `fraction` of the rows is reached.

    The last group drawn is kept to fit on, unless it is the only one.
    """
    codes = labels.codes[train]
    present, sizes = np.unique(codes, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(present))
    wanted = int(len(train) * fraction)
    taken: list[int] = []
    rows = 0
    for position in order[: max(1, len(order) - 1)]:
        if rows >= wanted:
            break
        taken.append(int(present[position]))
        rows += int(sizes[position])
    return np.isin(codes, taken)
