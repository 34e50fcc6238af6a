"""Rows of gathered predictions by their labels, against pandas' own grouping."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gpucv.analysis.fold_rows import rows_by

LABELS = ["b", "b", "a", "a", "b", "c"]
SCHEMES = ["x", "x", "x", "y", "x", "x"]


@pytest.mark.parametrize("dtype", ["object", "category"])
def test_rows_are_found_where_folds_stand_apart_too(dtype: str) -> None:
    table = pd.DataFrame({"scheme": SCHEMES, "holdout": LABELS}).astype(dtype)
    found = rows_by(table, ("scheme", "holdout"))
    assert list(found) == [("x", "b"), ("x", "a"), ("y", "a"), ("x", "c")]
    assert [at.tolist() for at in found.values()] == [[0, 1, 4], [2], [3], [5]]


def test_it_says_what_pandas_says_of_rows_in_any_order() -> None:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({name: draw.choice(["p", "q", "r"], 200) for name in ("one", "two")})
    expected = table.groupby(["one", "two"], sort=False).indices
    found = rows_by(table, ("one", "two"))
    assert list(found) == list(table.drop_duplicates().itertuples(index=False, name=None))
    for key, at in found.items():
        assert at.tolist() == expected[key].tolist()


def test_no_rows_have_no_groups() -> None:
    assert rows_by(pd.DataFrame({"one": []}), ("one",)) == {}
