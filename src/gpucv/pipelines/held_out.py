"""What the rows held out are like: how far from the rows learnt from, and of which phase.

Neither needs a target. Both are kept with the predictions, so that whoever reads a run can
ask what its errors go with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.frames import namespace_of, to_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gpucv.frames import Array
    from gpucv.machine import Device
    from gpucv.pipelines.base import ViewColumns
    from gpucv.pipelines.rows import Inputs

__all__ = ["Outside", "outside_training", "phases_of"]

_ROWS = 1 << 16
"""Rows looked at together: a few megabytes, beside what the fit needs."""
_ABREAST = 16
_TOKENS = (
    ("f_prefill_tokens", "f_decode_tokens"),
    ("prefill_tokens", "decode_tokens"),
    ("batch.prefill_tokens", "batch.decode_tokens"),
)
"""What a feature set, a predictor's inputs and the data call the tokens of a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """How far the rows held out lie outside the range of the rows learnt from.

    Attributes
    ----------
    rows : ndarray of float32, shape (n_asked,)
        Share of the features in which the row lies outside, 0 to 1.
    features : list of dict
        For each feature ``feature``; ``train_low, train_high, test_low, test_high``;
        ``share`` of the rows outside, 0 to 1; and ``farthest``: how far the farthest row
        lies outside, in widths of the training range, 0 if none does. It is left out where the
        training rows have one value and a row another, and the bounds where no row has one.
    """

    rows: NDArray[np.float32]
    features: list[dict[str, Any]]


def outside_training(
    learnt: Inputs, asked: Inputs, columns: ViewColumns, on: Device = "cpu"
) -> Outside | None:
    """Compare the features of rows asked for with the range of the rows learnt from.

    Parameters
    ----------
    learnt, asked : Inputs
    columns : ViewColumns
        The features the predictor reads.
    on : {"cpu", "cuda"}
        Where to look, if the table is there.

    Returns
    -------
    Outside or None
        None without features or rows. Trees answer beyond the range as at its edge, so a
        feature there tells them nothing more.
    """
    if not columns.positions or not len(learnt) or not len(asked):
        return None
    low, high = _bounds(learnt, columns.positions, on)
    test_low, test_high = _bounds(asked, columns.positions, on)
    n_outside = np.zeros(len(columns.positions))
    rows = np.empty(len(asked), dtype=np.float32)
    filled = 0
    for X in _blocks(asked, columns.positions, on):
        beyond = (low > X) | (high < X)
        n_outside += to_host(beyond.sum(axis=0))
        rows[filled : filled + len(X)] = to_host(beyond.mean(axis=1))
        filled += len(X)
    train = to_host(low).astype(float), to_host(high).astype(float)
    test = to_host(test_low).astype(float), to_host(test_high).astype(float)
    return Outside(rows, _told(columns.names, train, test, n_outside / len(asked)))


def _blocks(inputs: Inputs, columns: Sequence[int], on: Device) -> Iterator[Array]:
    for start in range(0, len(inputs), _ROWS):
        rows = inputs.rows[start : start + _ROWS]
        yield replace(inputs, rows=rows).features(columns, on)


def _bounds(inputs: Inputs, columns: Sequence[int], on: Device) -> tuple[Array, Array]:
    """Return the smallest and largest value of each column; infinite where it has none.

    A missing value makes a column's least missing: only then are all rows looked at again.
    """
    low, high = _extremes(_blocks(inputs, columns, on))
    if not np.isnan(to_host(low)).any():
        return low, high
    blocks, inf = _blocks(inputs, columns, on), np.float32(np.inf)
    low, _ = _extremes(_filled(blocks, inf))
    _, high = _extremes(_filled(_blocks(inputs, columns, on), -inf))
    return low, high


def _filled(blocks: Iterator[Array], value: np.float32) -> Iterator[Array]:
    for X in blocks:
        xp = namespace_of(X)
        yield xp.where(xp.isnan(X), value, X)


def _extremes(blocks: Iterator[Array]) -> tuple[Array, Array]:
    low: Any = None
    high: Any = None
    for X in blocks:
        xp = namespace_of(X)
        # Several rows side by side: a row alone is too short for the processor's wide registers,
        # and takes ten times as long.
        whole = len(X) // _ABREAST * _ABREAST
        for rows in (X[:whole].reshape(-1, _ABREAST * X.shape[1]), X[whole:]):
            if len(rows):
                least = rows.min(axis=0).reshape(-1, X.shape[1]).min(axis=0)
                most = rows.max(axis=0).reshape(-1, X.shape[1]).max(axis=0)
                low = least if low is None else xp.minimum(low, least)
                high = most if high is None else xp.maximum(high, most)
    return low, high


_Bounds = tuple["NDArray[np.float64]", "NDArray[np.float64]"]


def _told(
    names: Sequence[str], train: _Bounds, test: _Bounds, share: NDArray[np.float64]
) -> list[dict[str, Any]]:
    rows = []
    for at, name in enumerate(names):
        low, high = float(train[0][at]), float(train[1][at])
        least, most = float(test[0][at]), float(test[1][at])
        told: dict[str, Any] = {"feature": name, "share": float(share[at])}
        if low <= high:
            told |= {"train_low": low, "train_high": high}
        if least <= most:
            told |= {"test_low": least, "test_high": most}
        if not share[at]:
            told["farthest"] = 0.0
        elif 0 < high - low < np.inf:
            told["farthest"] = max(low - least, most - high) / (high - low)
        rows.append(told)
    return rows


def phases_of(asked: Inputs, names: Sequence[str], on: Device = "cpu") -> NDArray[np.int8] | None:
    """Return the phase of each row: 0 pure decode, 1 mixed, 2 prefill, -1 neither.

    Parameters
    ----------
    asked : Inputs
    names : sequence of str
        Of all features of the table.
    on : {"cpu", "cuda"}
        Where to look, if the table is there.

    Returns
    -------
    ndarray of int8, shape (n_asked,), or None
        None where no feature counts the tokens of prefill and of decode.
    """
    known = [pair for pair in _TOKENS if set(pair) <= set(names)]
    if not known or not len(asked):
        return None
    columns = [list(names).index(name) for name in known[0]]
    kinds = [
        to_host((X[:, 0] > 0).astype(np.int8) + 2 * (X[:, 1] > 0).astype(np.int8))
        for X in _blocks(asked, columns, on)
    ]
    found: NDArray[np.int8] = _BY_KIND[np.concatenate(kinds)]
    return found


_BY_KIND = np.array([-1, 2, 0, 1], dtype=np.int8)
"""The phase of steps without tokens, with those of prefill, of decode, of both."""
