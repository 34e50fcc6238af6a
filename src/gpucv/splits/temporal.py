"""The tail of each recording, tested by what its beginning taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import SplitError
from gpucv.splits.groups import Split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gpucv.splits.groups import GroupLabels

__all__ = ["temporal_splits"]


def temporal_splits(labels: GroupLabels, shares: tuple[float, float]) -> Iterator[Split]:
    """Yield one fold per group: its tail is tested, the heads of all groups are learnt from.

    Parameters
    ----------
    labels : GroupLabels
        Rows of a group stand in the order of time.
    shares : tuple of two floats
        Of every group's n rows, the first ``round(n * shares[0])`` are fitted to, the next
        ``round(n * shares[1])`` validate, and the rest are tested: the published study's
        arithmetic (inference-sim, ``hypotheses/h-stepml/shared/splits.py``).

    Raises
    ------
    SplitError
        If a group is too small to have a row to fit to and a row to test.
    """
    heads, middles, tails = [], [], []
    for name, rows in zip(labels.names, labels.rows_by_group(), strict=True):
        fit, valid = (round(len(rows) * share) for share in shares)
        if not fit or fit + valid >= len(rows):
            msg = (
                f"group {name!r} has {len(rows)} rows, too few to fit to the first "
                f"{shares[0]:.0%} and test the last {1 - sum(shares):.0%}"
            )
            raise SplitError(msg)
        heads.append(rows[:fit])
        middles.append(rows[fit : fit + valid])
        tails.append(rows[fit + valid :])
    watching = _together(middles)
    learning = _together([*heads, *middles])
    for name, tail in zip(labels.names, tails, strict=True):
        yield Split(name, learning, tail, valid=watching)


def _together(parts: list[NDArray[np.intp]]) -> NDArray[np.intp]:
    return np.sort(np.concatenate(parts))
