from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpucv.catalog import load_catalog
from gpucv.errors import DataError, SplitError
from gpucv.features import (
    FeatureTable,
    build_features,
    build_table,
    group_columns,
    required_columns,
)
from gpucv.study import FeatureSpec, Study, study_from_dict

CATALOG = load_catalog()
GENERIC: dict[str, Any] = {
    "data": {"target": "time_ms"},
    "features": {"columns": ["m", "n"]},
    "schemes": [{"name": "leave-gpu-out", "hold_out": "gpu"}],
}


def study(raw: dict[str, Any] | None = None) -> Study:
    return study_from_dict(raw or {}, base=Path()).study


def steps(n_rows: int = 12) -> pd.DataFrame:
    """Recorded steps of four experiments, two models and two workloads, in no order."""
    generator = np.random.default_rng(3)
    row = np.arange(n_rows)
    frame = pd.DataFrame(
        {
            "experiment_id": [f"e{i % 4}" for i in row],
            "step.id": row // 4,
            "model": np.where(row % 4 < 2, "llama-2-7b", "codellama-34b"),
            "workload": np.where(row % 2 == 0, "general", "codegen"),
            "tp": 1,
            "batch.prefill_tokens": generator.integers(0, 500, n_rows),
            "batch.decode_tokens": generator.integers(0, 100, n_rows),
            "batch.scheduled_tokens": generator.integers(0, 600, n_rows),
            "step.duration_us": generator.integers(10, 5000, n_rows),
        }
    )
    return frame.sample(frac=1, random_state=1)


def measurements(**columns: Any) -> pd.DataFrame:
    """A table of another kind: no experiments, no steps."""
    base = {"m": [1, 2, 3, 4], "n": [0.5, 1.5, 2.5, 3.5], "time_ms": [1.0, 2.0, 3.0, 4.0]}
    return pd.DataFrame(base | {"gpu": ["b", "a", "b", "a"]} | columns)


def table(frame: pd.DataFrame | None = None, raw: dict[str, Any] | None = None) -> FeatureTable:
    return build_table(steps() if frame is None else frame, study(raw), CATALOG)


# The table ---------------------------------------------------------------------------


def test_rows_stand_in_the_order_of_experiment_and_step() -> None:
    found, ordered = table(), steps().sort_values(["experiment_id", "step.id"])
    assert len(found) == 12
    np.testing.assert_array_equal(found.y, ordered["step.duration_us"])
    np.testing.assert_array_equal(found.step_id, ordered["step.id"])
    names = found.feature_names
    np.testing.assert_array_equal(
        found.X[:, names.index("f_prefill_tokens")], ordered["batch.prefill_tokens"]
    )
    for column in ("experiment_id", "model", "workload"):
        labels = found.keys[column]
        assert [labels.names[code] for code in labels.codes] == ordered[column].tolist()


def test_features_are_float32_in_c_order_and_targets_float64() -> None:
    found = table()
    assert found.X.dtype == np.float32
    assert found.X.flags.c_contiguous
    assert found.X.shape == (12, 30)
    assert (found.y.dtype, found.step_id.dtype) == (np.float64, np.int64)


def test_float32_features_are_the_float64_ones_rounded() -> None:
    frame = steps().sort_values(["experiment_id", "step.id"], ignore_index=True)
    exact, names = build_features(frame, FeatureSpec(), CATALOG)
    found = table()
    assert found.feature_names == names
    np.testing.assert_array_equal(found.X, exact.astype(np.float32))


def test_the_fingerprint_is_the_same_whatever_order_the_rows_come_in() -> None:
    reversed_rows = steps().sort_values(["step.id", "experiment_id"], ascending=False)
    assert table(reversed_rows).fingerprint == table().fingerprint
    assert table(steps().reset_index(drop=True)).fingerprint == table().fingerprint


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("experiment_id", "e9"),
        ("step.id", 99),
        ("model", "llama-2-70b"),
        ("workload", "reasoning"),
        ("tp", 2),
        ("batch.prefill_tokens", 501),
        ("step.duration_us", 5001),
    ],
)
def test_the_fingerprint_changes_with_any_value(column: str, value: Any) -> None:
    changed = steps()
    changed.loc[changed.index[5], column] = value
    assert table(changed).fingerprint != table().fingerprint


def test_the_fingerprint_changes_with_a_step_number_that_moves_no_row() -> None:
    changed = steps().astype({"step.id": "int64"})
    changed["step.id"] *= 2
    assert table(changed).fingerprint != table().fingerprint
    np.testing.assert_array_equal(table(changed).X, table().X)


def test_the_fingerprint_changes_with_names_and_groups_alone() -> None:
    renamed = measurements().rename(columns={"m": "k"})
    found = [
        table(measurements(), GENERIC),
        table(renamed, GENERIC | {"features": {"columns": ["k", "n"]}}),
        table(measurements(gpu=["d", "c", "d", "c"]), GENERIC),
        table(measurements(model="x"), GENERIC),
    ]
    assert len({each.fingerprint for each in found}) == len(found)
    for each in found[1:]:
        np.testing.assert_array_equal(each.X, found[0].X)


def test_the_callers_frame_is_left_as_it_was() -> None:
    frame = steps()
    table(frame, {"data": {"constants": {"gpu": "a100"}}})
    pd.testing.assert_frame_equal(frame, steps())


def test_a_constant_stands_for_a_column_the_data_lacks_and_for_no_other() -> None:
    frame = steps().assign(**{"batch.scheduled_tokens": 192})
    names = table().feature_names

    def bound(constants: dict[str, Any], frame: pd.DataFrame) -> set[float]:
        found = table(frame, {"data": {"constants": constants}})
        return set(found.X[:, names.index("f_compute_bound_indicator")].tolist())

    assert bound({}, frame) == {0.0}
    assert bound({"gpu": "a100"}, frame) == {1.0}
    assert bound({"gpu": "a100"}, frame.assign(gpu="h100")) == {0.0}


def test_rows_without_experiments_are_named_by_their_groups() -> None:
    found = table(measurements(), GENERIC)
    assert found.keys["experiment_id"].names == ("a", "b")
    assert found.y.tolist() == [2.0, 4.0, 1.0, 3.0]
    # They keep the order they came in, and that is their number.
    assert found.step_id.tolist() == [1, 3, 0, 2]


def test_rows_without_experiments_or_groups_are_one_experiment() -> None:
    raw = GENERIC | {"schemes": [{"name": "random", "splitter": "KFold"}]}
    found = table(measurements(), raw)
    assert found.keys["experiment_id"].names == ("all",)
    assert found.y.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_several_groups_name_an_experiment_together() -> None:
    raw = GENERIC | {"schemes": [{"name": "x", "hold_out": ["gpu", "m"]}]}
    found = table(measurements(m=[1, 1, 2, 2]), raw)
    assert found.keys["experiment_id"].names == ("a / 1", "a / 2", "b / 1", "b / 2")
    assert set(found.keys) == {"experiment_id", "gpu", "m"}


def test_a_name_that_is_only_shown_may_be_missing_and_a_group_may_not() -> None:
    frame = measurements(model=["x", None, "x", "x"])
    assert "model" not in table(frame, GENERIC).keys
    raw = GENERIC | {"schemes": [{"name": "lomo", "hold_out": "model"}]}
    with pytest.raises(SplitError, match="1 rows have no group in column 'model'"):
        table(frame.assign(experiment_id="e", **{"step.id": range(4)}), raw)


def test_an_order_that_is_no_whole_number_becomes_a_place() -> None:
    frame = measurements(at=[0.5, 0.25, 0.75, 0.125], experiment_id="e")
    found = table(frame, GENERIC | {"data": {"target": "time_ms", "order_by": "at"}})
    assert found.y.tolist() == [4.0, 2.0, 1.0, 3.0]
    assert found.step_id.tolist() == [0, 1, 2, 3]


def test_an_order_that_is_text_is_refused() -> None:
    frame = measurements(at=list("abcd"))
    with pytest.raises(DataError, match=r"data.order_by column 'at' holds (str|object)"):
        table(frame, GENERIC | {"data": {"target": "time_ms", "order_by": "at"}})


def test_tables_and_labels_can_be_compared_and_kept_in_sets() -> None:
    found = table()
    assert found == found  # noqa: PLR0124 - comparing arrays would raise
    assert found != replace(found)
    assert len({found, found.keys["model"]}) == 2


# Which columns -------------------------------------------------------------------------


def test_the_study_needs_its_target_its_keys_and_its_groups() -> None:
    assert required_columns(study()) == (
        "step.duration_us",
        "model",
        "experiment_id",
        "step.id",
        "workload",
    )
    assert group_columns(study()) == ("model", "workload")


def test_another_table_needs_only_what_is_named() -> None:
    assert required_columns(study(GENERIC)) == ("time_ms", "m", "n", "gpu")


def test_a_constant_need_not_be_in_the_data() -> None:
    raw = {"data": {"constants": {"workload": "general", "tp": 1}}}
    assert "workload" not in required_columns(study(raw))


def test_columns_of_every_scheme_and_of_validation_are_groups_each_once() -> None:
    raw: dict[str, Any] = {
        "schemes": [
            {"name": "a", "hold_out": ["model", "gpu"]},
            {"name": "b", "hold_out": "gpu"},
            {"name": "c", "splitter": "GroupKFold", "hold_out": "day"},
        ],
        "validation": {"group": "host"},
    }
    assert group_columns(study(raw)) == ("day", "gpu", "model")
    raw["validation"]["order"] = "group"
    assert group_columns(study(raw)) == ("day", "gpu", "host", "model")


# Columns of any other table ----------------------------------------------------------------


def generic(column: Any) -> np.ndarray:
    frame = pd.DataFrame({"x": column})
    X, names = build_features(frame, FeatureSpec(set="", columns=("x",)), CATALOG)
    assert names == ("x",)
    return X[:, 0]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ([1, 2, 3], [1.0, 2.0, 3.0]),
        ([0.5, np.nan, 1.5], [0.5, np.nan, 1.5]),
        ([np.inf, -np.inf, 1.0], [np.nan, np.nan, 1.0]),
        ([True, False], [1.0, 0.0]),
        (pd.Series([1, None], dtype="Int64"), [1.0, np.nan]),
        ([2**24, 1], [2.0**24, 1.0]),
        # Large, and still told apart as float32.
        ([80 * 2**30, 40 * 2**30], [80 * 2.0**30, 40 * 2.0**30]),
        ([1e12 + 1, 1e12], [1e12 + 1, 1e12]),
    ],
)
def test_a_column_of_numbers_is_taken_as_it_is(column: Any, values: list[float]) -> None:
    np.testing.assert_array_equal(generic(column), values)


def test_a_value_beyond_float32_is_missing_in_float32() -> None:
    frame = pd.DataFrame({"x": [1e300, 1.5]})
    spec = FeatureSpec(set="", columns=("x",))
    X, _ = build_features(frame, spec, CATALOG, dtype=np.float32)
    np.testing.assert_array_equal(X[:, 0], [np.nan, 1.5])


def test_columns_follow_the_named_set() -> None:
    X, names = build_features(
        steps().assign(extra=7.0), FeatureSpec(set="physics-30", columns=("extra",)), CATALOG
    )
    assert names[-1] == "extra"
    assert len(names) == 31
    assert (X[:, -1] == 7).all()


@pytest.mark.fault(30, 32, 37)
@pytest.mark.parametrize(
    ("column", "fault"),
    [
        (["a", "b"], "holds 'a' in row 1, which is no number; encode it as numbers or hold it out"),
        (pd.to_datetime(["2026-01-01", "2026-01-02"]), r"holds Timestamp\(.* is no number"),
        ([np.nan, np.nan], "'x' is empty in all 2 rows; leave it out"),
        ([2**24, 2**24 + 1], "integers up to 16,777,217 that XGBoost's float32 would merge"),
        ([-(2**63), -(2**63) + 1], "float32 would merge"),
        (np.array([2**64 - 1, 2**64 - 2], dtype=np.uint64), "float32 would merge"),
        # A whole-number column with a gap is float64, and a clock all the same.
        ([20_020_938_183_118.0, 20_020_938_183_119.0, np.nan], "float32 would merge"),
    ],
)
def test_a_column_that_cannot_serve_is_refused_by_name(column: Any, fault: str) -> None:
    with pytest.raises(DataError, match=f"feature column 'x' .*{fault}|'x' is empty") as caught:
        generic(column)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no feature column 'num_token'.*'num_tokens'"):
        build_features(
            pd.DataFrame({"num_tokens": [1]}), FeatureSpec(set="", columns=("num_token",)), CATALOG
        )


# Rows that stand in order already -----------------------------------------------------


def in_order() -> pd.DataFrame:
    frame = steps().sort_values(["experiment_id", "step.id"], ignore_index=True)
    return frame.astype({"experiment_id": "category"})


def test_rows_in_order_are_not_copied_to_be_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, frame = table().fingerprint, in_order()

    def sort_values(*_: Any, **__: Any) -> None:
        raise AssertionError("sorted")

    monkeypatch.setattr(pd.DataFrame, "sort_values", sort_values)
    assert table(frame).fingerprint == expected


@pytest.mark.parametrize("swapped", [(0, 1), (0, 11)])
def test_one_row_out_of_place_is_put_back(swapped: tuple[int, int]) -> None:
    frame, rows = in_order(), np.arange(12)
    rows[list(swapped)] = rows[list(swapped[::-1])]
    assert table(frame.iloc[rows]).fingerprint == table().fingerprint


def test_categories_in_another_order_than_their_text_are_sorted() -> None:
    frame = in_order()
    backwards = frame["experiment_id"].cat.reorder_categories(["e3", "e2", "e1", "e0"])
    found = table(frame.assign(experiment_id=backwards).iloc[::-1])
    np.testing.assert_array_equal(
        found.keys["experiment_id"].codes, np.sort(found.keys["experiment_id"].codes)[::-1]
    )
