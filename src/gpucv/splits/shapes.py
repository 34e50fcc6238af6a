"""Rows of the same shape: told apart by some columns, and kept out of training.

Two groups may hold the very same measurement: Llama-2-70B and CodeLlama-34B have
identical attention GEMMs. Holding one out then tests what training has seen. A scheme
with ``disjoint`` leaves such training rows out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpucv.splits.groups import GroupLabels, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["code_shapes", "leave_shapes_out", "shape_key"]


def shape_key(columns: Sequence[str]) -> str:
    """Return the name a table keeps the shapes of `columns` under; no column's own name.

    A column's name would be its groups', in which a missing value is an error.
    """
    return "\N{INFORMATION SEPARATOR ONE}".join(["shape", *columns])


def code_shapes(frame: pd.DataFrame, columns: Sequence[str]) -> GroupLabels:
    """Give rows that agree in all `columns` one code, others different ones.

    Parameters
    ----------
    frame : DataFrame
    columns : sequence of str
        Of any dtype. A missing value is a value of its own: the shape does not apply.

    Returns
    -------
    GroupLabels
        Without names: there may be a shape for every row.
    """
    codes = np.zeros(len(frame), dtype=np.int64)
    for column in columns:
        values, found = pd.factorize(frame[column])
        pairs = codes * (len(found) + 1) + values + 1  # a missing value is -1
        codes = pd.factorize(pairs)[0].astype(np.int64)
    return GroupLabels(codes.astype(np.int32), ())


def leave_shapes_out(split: Split, shapes: GroupLabels) -> Split:
    """Return `split` without the training rows that share a shape with a test row."""
    if not len(split.test):
        return split
    tested = np.zeros(int(shapes.codes.max()) + 1, dtype=bool)
    tested[shapes.codes[split.test]] = True
    shared = tested[shapes.codes[split.train]]
    return replace(split, train=split.train[~shared], n_left_out=int(shared.sum()))
