"""Which rows of the gathered predictions belong together."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["rows_by"]


def rows_by(
    predictions: pd.DataFrame, columns: Sequence[str]
) -> dict[tuple[str, ...], NDArray[np.int64]]:
    """Return the positions of the rows of each combination of labels, in order of appearance.

    Predictions stand fold by fold, so only where a label changes is looked at. Grouping would
    code every row once for each column, and take more memory than the rows themselves.

    Parameters
    ----------
    predictions : pandas.DataFrame
        ``predictions.parquet``.
    columns : sequence of str
        Of labels.
    """
    labels = [predictions[name].astype("category").cat for name in columns]
    codes = [label.codes.to_numpy() for label in labels]
    changes = np.zeros(len(predictions), dtype=bool)
    changes[:1] = True
    for code in codes:
        changes[1:] |= code[1:] != code[:-1]
    starts = np.flatnonzero(changes)
    runs: dict[tuple[str, ...], list[NDArray[np.int64]]] = {}
    for start, end in pairwise([*starts.tolist(), len(predictions)]):
        of = zip(labels, codes, strict=True)
        key = tuple(str(label.categories[code[start]]) for label, code in of)
        runs.setdefault(key, []).append(np.arange(start, end))
    return {key: np.concatenate(parts) for key, parts in runs.items()}
