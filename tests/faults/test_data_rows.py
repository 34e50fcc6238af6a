"""Values no predictor can learn from: refused, or dropped and counted; scores stay defined."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpucv
from gpucv.errors import DataError, TraceError
from gpucv.metrics import score
from gpucv.study import study_from_dict
from gpucv.traces import check_rows
from gpucv.workflow import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.workflow import PreparedStudy

N = 90


@pytest.fixture
def frame() -> pd.DataFrame:
    """Three cards, a size and a time that follows from it."""
    size = np.random.default_rng(4).integers(1, 50, N)
    return pd.DataFrame(
        {"card": np.tile(["a", "b", "c"], N // 3), "size": size, "t_us": size * 2.0 + 5}
    )


@pytest.fixture
def study_of(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def make(
        rows: pd.DataFrame,
        *,
        predictors: list[Any] | None = None,
        columns: Any = ("size",),
        **data: Any,
    ) -> dict[str, Any]:
        rows.to_parquet(tmp_path / "rows.parquet")
        steps = [str(tmp_path / "rows.parquet")]
        return {
            "data": {"steps": steps, "target": "t_us", "audit": "off", **data},
            "features": {"columns": list(columns)},
            "schemes": [{"name": "cards", "hold_out": "card"}],
            "predictors": predictors or [{"params": {"n_estimators": 5}}],
            "execution": {"workers": 1, "threads_per_fold": 1},
        }

    return make


@pytest.fixture
def prepared(
    study_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> Callable[..., PreparedStudy]:
    def make(rows: pd.DataFrame, **options: Any) -> PreparedStudy:
        return prepare(study_from_dict(study_of(rows, **options), base=tmp_path))

    return make


def told(study: PreparedStudy) -> dict[str, str]:
    return {note.code: note.message for note in study.notes if note.level == "warning"}


@pytest.mark.fault(29, 31)
def test_targets_no_one_can_learn_from_are_refused_or_dropped_and_stand_in_the_report(
    frame: pd.DataFrame, study_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    frame.loc[[7, 20], "t_us"] = np.nan
    frame.loc[11, "t_us"] = np.inf
    frame.loc[[30, 31, 32], "t_us"] = -4.0
    with pytest.raises(DataError) as refused:
        gpucv.run(study_of(frame), out=tmp_path / "refused")
    assert refused.value.exit_code == 3
    assert str(refused.value).startswith(
        "6 of 90 rows cannot be used: 2 with missing t_us, 1 with infinite t_us, 3 with negative "
        "t_us (first: row 8, t_us is empty); mend the data, or leave them out"
    )
    assert not (tmp_path / "refused").exists()
    result = gpucv.run(study_of(frame, bad_rows="drop"), out=tmp_path / "run")
    assert int(result.folds["n_test"].sum()) == 84
    for page in ("report.html", "FINDINGS.md"):
        text = (tmp_path / "run" / page).read_text(encoding="utf-8")
        assert "dropped 3 of 90 rows with negative t_us (first: row 31, t_us is -4)" in text
        assert "dropped 1 of 90 rows with infinite t_us (first: row 12, t_us is inf)" in text
        assert "dropped 2 of 90 rows with missing t_us (first: row 8, t_us is empty)" in text


@pytest.mark.fault(29)
@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0])), min_size=1
    )
)
def test_whatever_the_targets_only_finite_times_are_left(values: list[float]) -> None:
    rows = pd.DataFrame({"t": np.array(values)})
    usable = np.isfinite(rows["t"]) & (rows["t"] >= 0)
    if not (usable & (rows["t"] > 0)).any():
        with pytest.raises(TraceError):
            check_rows(rows, target="t", keys=(), policy="drop")
        return
    found, notes = check_rows(rows, target="t", keys=(), policy="drop")
    assert found["t"].tolist() == rows["t"][usable].tolist()
    dropped = sum(note.count for note in notes if note.code.startswith("dropped"))
    assert dropped == len(rows) - len(found)


@pytest.mark.fault(31)
def test_zero_times_are_kept_counted_and_left_out_of_percentages(
    frame: pd.DataFrame, study_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    zero = np.random.default_rng(0).choice(np.flatnonzero(frame["card"] != "c"), 10, replace=False)
    frame.loc[[*zero, *np.flatnonzero(frame["card"] == "c")], "t_us"] = 0.0
    result = gpucv.run(study_of(frame), out=tmp_path / "run")
    assert "t_us is zero in 40 of 90 rows" in (tmp_path / "run" / "FINDINGS.md").read_text()
    folds = result.folds.set_index("holdout")
    assert np.isfinite(folds.loc[["a", "b"], "test_mape"]).all()
    assert math.isnan(folds.loc["c", "test_mape"])  # undefined, and no infinity
    record = json.loads(next((tmp_path / "run").glob("folds/0002/result.json")).read_text())
    assert record["scores"]["test_mape"] is None
    assert "2 of 3 folds" in (tmp_path / "run" / "FINDINGS.md").read_text()


@pytest.mark.fault(31)
def test_a_logarithm_of_a_zero_time_is_refused_before_a_fold_begins(
    frame: pd.DataFrame, prepared: Callable[..., PreparedStudy]
) -> None:
    frame.loc[[3, 4], "t_us"] = 0.0
    with pytest.raises(DataError, match=r"needs positive targets, and 2 of 90 are not .*'raw'"):
        prepared(frame, predictors=[{"transform": "log"}])


@pytest.mark.fault(31)
def test_the_domain_of_an_objective_is_checked_fold_by_fold(
    frame: pd.DataFrame, study_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    frame.loc[frame["card"] == "c", "t_us"] = 0.0
    gamma = [{"params": {"objective": "reg:gamma", "n_estimators": 5}}]
    result = gpucv.run(study_of(frame, predictors=gamma), out=tmp_path / "run")
    folds = result.folds.set_index("holdout")
    assert folds["status"].to_dict() == {"a": "failed", "b": "failed", "c": "ok"}
    record = json.loads((tmp_path / "run" / "folds" / "0000" / "result.json").read_text())
    assert "objective 'reg:gamma' needs targets above 0, and " in record["error"]
    assert "(the smallest is 0)" in record["error"]


@pytest.mark.fault(31)
@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e300), st.floats(-1e300, 1e300)), min_size=1, max_size=8
    ).filter(lambda pairs: any(actual for actual, _ in pairs))
)
def test_scores_of_finite_times_are_never_quietly_wrong(pairs: list[tuple[float, float]]) -> None:
    actual, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = score(actual, predicted)
    with np.errstate(all="ignore"):
        errors = np.abs(predicted - actual)[actual > 0] / actual[actual > 0]
        expected = 100 * errors.mean()
    assert found.mape == pytest.approx(expected, rel=1e-9)
    assert found.wape >= 0
    assert math.isnan(found.r) or -1 <= found.r <= 1


@pytest.mark.fault(30)
def test_infinite_features_count_as_missing_and_are_told(
    frame: pd.DataFrame, prepared: Callable[..., PreparedStudy]
) -> None:
    frame["ratio"] = frame["size"] / 7.0
    frame.loc[[2, 5], "ratio"] = [np.inf, -np.inf]
    frame.loc[6, "ratio"] = 1e300  # infinite as float32
    study = prepared(frame, columns=("size", "ratio"))
    message = "feature 'ratio' is infinite in 3 of 90 rows; there it counts as missing"
    assert told(study) == {"infinite_feature": message}
    assert np.isnan(study.table.X[:, 1]).sum() == 3
    assert not np.isinf(study.table.X).any()


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "empty"), (np.inf, "infinite or empty"), (-np.inf, "infinite or")]
)
def test_a_column_named_as_a_feature_that_holds_nothing_is_refused(
    frame: pd.DataFrame, prepared: Callable[..., PreparedStudy], value: float, what: str
) -> None:
    frame["nothing"] = value
    with pytest.raises(DataError, match=f"feature column 'nothing' is {what}.* in all 90 rows"):
        prepared(frame, columns=("size", "nothing"))


@pytest.mark.fault(30)
def test_a_computed_feature_without_any_value_is_named_and_never_split_on(
    tmp_path: Path,
) -> None:
    rows = np.random.default_rng(2).integers(1, 4096, (N, 3))
    frame = pd.DataFrame(rows, columns=["m", "n", "k"])
    frame = frame.assign(gpu=np.tile(["h100", "a100", "l40s"], N // 3), op="gemm", sol_us=5.0)
    frame = frame.assign(flops=1e9, bytes=1e6, dtype="fp16")  # no engine, so no release of it
    frame["latency_us"] = frame["m"] * 0.5 + 10.0
    frame.to_parquet(tmp_path / "gemm.parquet")
    study = {
        "data": {"steps": ["gemm.parquet"], "target": "latency_us", "audit": "off"},
        "features": {"set": "transfer"},
        "schemes": [{"name": "gpus", "hold_out": "gpu"}],
        "predictors": [{"params": {"n_estimators": 5}}],
    }
    found = prepare(study_from_dict(study, base=tmp_path))
    empty = np.isnan(found.table.X).all(axis=0)
    assert 0 < empty.sum() < len(empty)
    message = told(found)["empty_feature"]
    assert message.startswith(f"{empty.sum()} of {len(empty)} features have no value in any row")
    result = gpucv.run(
        {**study, "data": {**study["data"], "steps": [str(tmp_path / "gemm.parquet")]}},
        out=tmp_path / "run",
    )  # type: ignore[dict-item]
    gain = result.importance.groupby("feature")["importance"].sum()
    names = np.array(found.table.feature_names)
    assert (gain[list(names[empty])] == 0).all()
    assert message in (tmp_path / "run" / "FINDINGS.md").read_text()


@pytest.mark.fault(32)
def test_whole_numbers_that_float32_merges_are_refused_and_those_it_rounds_are_told(
    frame: pd.DataFrame, prepared: Callable[..., PreparedStudy]
) -> None:
    frame["exact"] = np.arange(N) + 2**24 - N + 1  # up to 2**24
    assert told(prepared(frame, columns=("exact",))) == {}
    frame["id"] = frame["exact"] + 1  # up to 2**24 + 1
    with pytest.raises(DataError, match=r"'id' has integers up to 16,777,217 .* float32 would mer"):
        prepared(frame, columns=("id",))
    frame["clock_ns"] = 20_020_938_183_118 + np.arange(N)
    with pytest.raises(DataError, match=r"'clock_ns' has integers .* \(ids and clocks never help"):
        prepared(frame, columns=("clock_ns",))
    frame["bytes"] = 2**24 + 1 + 4 * np.arange(N)
    message = "feature 'bytes' holds whole numbers beyond 2^24, and float32 rounds 90 of 90 rows"
    assert told(prepared(frame, columns=("bytes",))) == {"rounded_feature": message}


@pytest.mark.fault(37)
def test_columns_that_are_no_numbers_or_have_one_name_are_named(
    frame: pd.DataFrame, prepared: Callable[..., PreparedStudy], tmp_path: Path
) -> None:
    frame["kind"] = ["1"] * 4 + ["big"] * (N - 4)
    with pytest.raises(DataError, match="feature column 'kind' holds 'big' in row 5, which is no"):
        prepared(frame, columns=("size", "kind"))
    frame["when"] = pd.Timestamp("2024-01-01")
    with pytest.raises(DataError, match=r"feature column 'when' holds .*2024.* in row 1, which is"):
        prepared(frame, columns=("when",))
    twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["size", "size"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    study = {
        "data": {"steps": ["twice.parquet"], "target": "size", "audit": "off"},
        "schemes": [{"name": "cards", "hold_out": "card"}],
    }
    with pytest.raises(DataError, match="column 'size' stands twice; rename one of them") as error:
        prepare(study_from_dict(study, base=tmp_path))
    assert error.value.exit_code == 3


LEARNERS = [
    {"name": "xgboost", "params": {"n_estimators": 5}},
    {"name": "xgboost", "label": "log", "transform": "log", "params": {"n_estimators": 5}},
    {"name": "random-forest", "params": {"n_estimators": 5}},
    {"name": "ridge"},
    {"name": "constant"},
]


@pytest.mark.fault(39)
@pytest.mark.parametrize("constant", ["size", "t_us"])
def test_a_constant_column_or_target_has_a_defined_result_and_no_correlation(
    constant: str, frame: pd.DataFrame, study_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    frame[constant] = 7
    frame["other"] = np.tile([1.0, 2.0, 4.0, 8.0, 16.0], N // 5)
    columns = ("size",) if constant == "size" else ("size", "other")
    result = gpucv.run(study_of(frame, predictors=LEARNERS, columns=columns), out=tmp_path / "run")
    folds, scores = result.folds, ["test_mape", "test_mspe", "test_wape", "test_p99_ape"]
    assert (folds["status"] == "ok").all()
    assert np.isfinite(folds[scores]).to_numpy().all()
    assert folds["test_r"].isna().all()
    if constant == "t_us":
        np.testing.assert_allclose(folds["test_mape"], 0, atol=1e-4)
    for path in (tmp_path / "run").glob("folds/*/result.json"):
        assert json.loads(path.read_text())["scores"]["test_r"] is None
    assert "nan" not in (tmp_path / "run" / "verdict.json").read_text().lower()


@pytest.mark.fault(39)
def test_a_group_never_seen_is_answered_by_another_group_s_fit(
    frame: pd.DataFrame, study_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    apart = [{"name": "ridge", "per": "card"}]
    result = gpucv.run(study_of(frame, predictors=apart), out=tmp_path / "run")
    assert (result.folds["status"] == "ok").all()
    assert np.isfinite(result.predictions["predicted"]).all()
    assert {"donor", "group"} <= set(pd.read_csv(tmp_path / "run" / "donors.csv").columns)
