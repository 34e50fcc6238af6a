"""Where bins end: quantiles of the rows fitted, or of every row of the table."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from gpucv.predictors import EveryRow, FitContext, check_params, cuts, make_predictor, matrices

if TYPE_CHECKING:
    from collections.abc import Iterator

DRAW = np.random.default_rng(3)
TABLE = DRAW.gamma(2.0, 50.0, size=(4000, 5)).astype(np.float32)
TABLE[DRAW.random(TABLE.shape) < 0.05] = np.nan
Y = (np.nan_to_num(TABLE) @ np.arange(1.0, 6)) + DRAW.normal(size=4000)
SOME = np.arange(1500)
SMALL = {"n_estimators": 8, "min_child_weight": 1.0}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cuts are known yet; one thread makes them, as tests run beside each other."""
    monkeypatch.setattr(matrices, "cpu_count", lambda: 1)
    cuts._made.clear()
    yield
    cuts._made.clear()


def fitted(X: Any, every_row: EveryRow | None, name: str = "xgboost", **params: Any) -> bytes:
    context = FitContext(seed=42, threads=1, device="cpu", every_row=every_row)
    made = make_predictor(name, {**SMALL, **params} if name == "xgboost" else params, context)
    made.fit(X, Y[: len(X)], None)
    content = made.serialize()
    assert content is not None
    return content


def table(name: str = "table") -> EveryRow:
    return EveryRow(name, lambda: np.asfortranarray(TABLE))


def thresholds(model: bytes) -> set[float]:
    booster = xgboost.Booster(model_file=bytearray(model))
    frame = booster.trees_to_dataframe()
    return set(frame.loc[frame["Feature"] != "Leaf", "Split"].astype(np.float32).tolist())


@pytest.mark.parametrize("order", ["C", "F"])
def test_shared_cuts_are_those_xgboost_finds_in_the_whole_table(order: Any) -> None:
    rows = np.asarray(TABLE[SOME], order=order)
    whole = xgboost.QuantileDMatrix(TABLE, max_bin=256, nthread=1)
    theirs = xgboost.train(
        {"tree_method": "hist", "seed": 42, "learning_rate": 0.05, "max_depth": 6}
        | {"subsample": 0.8, "colsample_bytree": 0.8, "min_child_weight": 1, "nthread": 1},
        xgboost.QuantileDMatrix(TABLE[SOME], label=Y[SOME], ref=whole, nthread=1),
        8,
    )
    ours = xgboost.Booster(model_file=bytearray(fitted(rows, table(), cuts="shared")))
    np.testing.assert_array_equal(ours.inplace_predict(TABLE), theirs.inplace_predict(TABLE))
    ends = set(whole.get_quantile_cut()[1].tolist())
    assert thresholds(ours.save_raw()) <= ends
    assert not thresholds(fitted(rows, table())) <= ends


@pytest.mark.parametrize("name", ["xgboost", "random-forest"])
def test_a_fit_to_the_whole_table_is_the_same_with_either(name: str) -> None:
    rows, small = np.asfortranarray(TABLE), {"n_estimators": 4}
    assert fitted(rows, table(), name, **small, cuts="shared") == fitted(
        rows, table(), name, **small
    )
    assert fitted(rows[SOME], table(), name, **small, cuts="shared") != fitted(
        rows[SOME], None, name, **small
    )


def test_without_a_table_the_cuts_are_those_of_the_rows() -> None:
    assert fitted(TABLE[SOME], None, cuts="shared") == fitted(TABLE[SOME], None)


def test_the_table_is_sketched_once_however_many_folds_ask_at_once() -> None:
    asked, together = [], threading.Barrier(8)

    def rows() -> Any:
        asked.append(threading.get_ident())
        return np.asfortranarray(TABLE)

    def fold(_: int) -> bytes:
        together.wait(timeout=60)
        return fitted(np.asfortranarray(TABLE[SOME]), EveryRow("once", rows), cuts="shared")

    with ThreadPoolExecutor(8) as pool:
        models = set(pool.map(fold, range(8)))
    assert (len(asked), len(models)) == (1, 1)
    fitted(TABLE[SOME], EveryRow("once", rows), cuts="shared", max_bin=64)
    assert len(asked) == 2


def test_no_more_cuts_are_kept_than_a_study_needs() -> None:
    for name in range(cuts._MOST + 3):
        fitted(TABLE[SOME], table(str(name)), cuts="shared", n_estimators=1)
    assert len(cuts._made) == cuts._MOST
    assert all(matrix.num_row() == 1 for matrix in cuts._made.values())


@pytest.mark.parametrize("params", [{}, {"max_bin": 32}, {"subsample": 1.0, "max_depth": 3}])
def test_rows_handed_over_by_column_make_the_same_model_byte_for_byte(params: Any) -> None:
    rows, columns = np.ascontiguousarray(TABLE[SOME]), np.asfortranarray(TABLE[SOME])
    assert fitted(columns, None, **params) == fitted(rows, None, **params)


def test_the_default_is_not_written_out_so_that_keys_stay_what_they_were() -> None:
    for name in ("xgboost", "random-forest"):
        assert "cuts" not in check_params(name, {"cuts": "fold"}).model_dump()
        assert check_params(name, {"cuts": "shared"}).model_dump()["cuts"] == "shared"
