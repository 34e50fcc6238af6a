"""Rows with the answers every reader must give: some of the data's, and the awkward ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError, shown
from gpucv.export.answers import whole_microseconds
from gpucv.export.program import INPUTS, number_from_json, number_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["Golden", "golden_inputs"]

_REAL = 256
"""Rows of the data, spread evenly over it."""
_TIES = 64
"""Rows where a feature equals a threshold: the comparison is "less than", not "at most"."""
_AWKWARD = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, -5e-324, 1e-310, 2.0**-149, 2.0**24 + 1, 2.0**53),
    *(1e30, 3.5e38, 1e300, 1.7976931348623157e308, -1e300, np.inf, -np.inf, np.nan),
)
"""Zeros, denormals, what float32 cannot hold, what no batch holds."""


def golden_inputs(
    real: NDArray[np.float64],
    features: Callable[[NDArray[np.float64]], NDArray[np.float32]],
    thresholds: Mapping[int, NDArray[np.float32]],
) -> NDArray[np.float64]:
    """Return inputs to try an artifact on, shape (len(INPUTS), n).

    Parameters
    ----------
    real : ndarray of float64, shape (len(INPUTS), n_rows)
        The configuration's own.
    features : callable
        From inputs to features.
    thresholds : mapping of int to ndarray
        What the trees compare each feature with.
    """
    n = real.shape[1]
    rows = real[:, np.unique(np.linspace(0, n - 1, min(n, _REAL)).astype(int))]
    typical = np.array(rows[:, rows.shape[1] // 2])
    edges = [np.full(len(INPUTS), value) for value in _AWKWARD]
    for at in range(len(INPUTS)):
        for value in _AWKWARD:
            edge = typical.copy()
            edge[at] = value
            edges.append(edge)
    ties = _ties(typical, features, thresholds)
    return np.ascontiguousarray(np.concatenate([rows, np.array(edges).T, ties], axis=1))


def _ties(
    typical: NDArray[np.float64],
    features: Callable[[NDArray[np.float64]], NDArray[np.float32]],
    thresholds: Mapping[int, NDArray[np.float32]],
) -> NDArray[np.float64]:
    """Return batches at a threshold and beside it, where some input is the feature itself."""
    found: list[NDArray[np.float64]] = []
    for feature, values in sorted(thresholds.items()):
        few = values[np.unique(np.linspace(0, len(values) - 1, 8).astype(int))]
        near = [np.nextafter(few, np.float32(way), dtype=np.float32) for way in (-np.inf, np.inf)]
        tried = np.concatenate([few, *near]).astype(np.float64)
        for at in range(len(INPUTS)):
            batches = np.repeat(typical[:, None], len(tried), axis=1)
            batches[at] = tried
            same = features(batches)[:, feature].astype(np.float64) == tried
            found += list(batches[:, same].T)
    few_ties = found[:: max(1, len(found) // _TIES)]
    return np.array(few_ties).reshape(-1, len(INPUTS)).T


class Golden:
    """Golden rows with their answers.

    Attributes
    ----------
    inputs : ndarray of float64, shape (len(INPUTS), n)
    features : ndarray of float32, shape (n, n_features)
    margins : ndarray of float32, shape (n,)
    values : ndarray of float64, shape (n,)
    us : ndarray of int64, shape (n,)
        0 where there is no time.
    """

    def __init__(
        self,
        inputs: NDArray[np.float64],
        features: NDArray[np.float32],
        margins: NDArray[np.float32],
        values: NDArray[np.float64],
    ) -> None:
        self.inputs = inputs
        self.features = features
        self.margins = margins
        self.values = values
        self.us = whole_microseconds(values)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.margins)

    def to_json(self) -> dict[str, Any]:
        """Return the rows as plain data."""
        return {
            "inputs": {name: _plain(self.inputs[at]) for at, name in enumerate(INPUTS)},
            "features": [_plain(column) for column in self.features.T],
            "margins": _plain(self.margins),
            "values": _plain(self.values),
            "us": [int(value) for value in self.us],
        }

    @classmethod
    def from_json(cls, raw: Any, n_features: int, rows: int) -> Golden:
        """Read golden rows from anyone's hands.

        Raises
        ------
        DataError
            If they are not so many rows of so many features.
        """
        try:
            inputs = [_column(raw["inputs"][name], rows, f"inputs.{name}") for name in INPUTS]
            features = [
                _column(column, rows, f"features[{at}]")
                for at, column in enumerate(raw["features"])
            ]
            margins = _column(raw["margins"], rows, "margins")
            values = _column(raw["values"], rows, "values")
            us = raw["us"]
        except (KeyError, TypeError) as error:
            msg = f"the golden rows are damaged: {type(error).__name__} {error}"
            raise DataError(msg) from error
        if len(features) != n_features:
            msg = f"the golden rows have {len(features)} features, not {n_features}"
            raise DataError(msg)
        with np.errstate(over="ignore", invalid="ignore"):
            golden = cls(
                np.array(inputs),
                np.array(features, dtype=np.float32).T.copy(),
                margins.astype(np.float32),
                values,
            )
        if us != golden.us.tolist():
            msg = "the golden rows' whole microseconds are not those of their values"
            raise DataError(msg)
        return golden


def _plain(values: NDArray[Any]) -> list[float | str]:
    return [number_to_json(float(value)) for value in values]


def _column(raw: Any, rows: int, place: str) -> NDArray[np.float64]:
    if not isinstance(raw, list) or len(raw) != rows:
        found = f"{len(raw)} values" if isinstance(raw, list) else shown(raw)
        msg = f"golden {place} holds {found}, not {rows}"
        raise DataError(msg)
    return np.array([number_from_json(value, f"golden {place}") for value in raw])
