"""What fuzzing brought to light, each with the smallest thing that showed it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.analysis import read_recorded
from gpucv.catalog import load_catalog
from gpucv.errors import DataError, EnvironmentFaultError, RunError, TraceError
from gpucv.folds.cluster.connection import connected, scheduler_address
from gpucv.runs import FoldRecord, lock_holder
from gpucv.schema import CYCLE_US, STEP_ID, TS_START_NS
from gpucv.study import ExecutionSpec
from gpucv.traces import derive_targets
from gpucv.traces.audit.queue import pearson
from gpucv.traces.formats import FORMATS
from gpucv.traces.step_table import ReadOptions, read_steps
from gpucv.workflow.auditing import AuditRequest, audit_traces
from gpucv.workflow.rendering import from_others

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load_catalog()


def read(folder: Path, name: str, format: str) -> Any:
    options = ReadOptions(format=format)
    return read_steps([name], base=folder, catalog=CATALOG, required=[], options=options)


def test_numbers_whose_squares_overflow_have_no_correlation_and_no_warning() -> None:
    assert np.isnan(pearson(np.array([1.0, 2e200, 3]), np.array([1.0, 2, 3])))


def test_infinitely_many_tokens_are_no_size_of_a_step() -> None:
    steps = pd.DataFrame({STEP_ID: range(4), TS_START_NS: np.arange(4) * 20_000_000})
    steps["batch.scheduled_tokens"] = [1.0, np.inf, np.inf, np.inf]
    derived, _ = derive_targets(steps)
    np.testing.assert_array_equal(derived[CYCLE_US], [20_000, 20_000, 20_000, np.nan])


@pytest.mark.parametrize("tp", [np.inf, 1e300])
def test_no_number_of_gpus_has_no_floor(tp: float, tmp_path: Path) -> None:
    frame = pd.DataFrame({"step.duration_us": [5.0, 6, 7], "model": "llama-2-7b", "tp": tp})
    frame.to_parquet(tmp_path / "t.parquet")
    audited = audit_traces(AuditRequest(("t.parquet",), tmp_path, "table"), CATALOG)
    assert audited.audit.targets


def test_a_column_name_that_is_no_text_is_no_forward_pass_database(tmp_path: Path) -> None:
    path = tmp_path / "fpm_x.parquet"
    pd.DataFrame({"latency_ms": [1.0]}).to_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"latency_ms", b"laten\xff_ms"))
    assert not FORMATS["fpm"].recognises(path)


@pytest.mark.parametrize("tp", [str(2**63), "0x" + "f" * 5_000, "-1"])
def test_a_config_of_more_gpus_than_there_are_is_refused(tp: str, tmp_path: Path) -> None:
    (tmp_path / "traces.json").write_text("{}\n")
    (tmp_path / "exp-config.yaml").write_text(f"model: x\ntensor_parallelism: {tp}\n")
    with pytest.raises(
        TraceError, match=r"tensor_parallelism in exp-config.yaml is .*, not a whol"
    ):
        read(tmp_path, "traces.json", "otel")


def test_coefficients_of_more_digits_than_python_writes_are_refused(tmp_path: Path) -> None:
    entry = "models:\n- id: x\n  GPU: H100\n  tensor_parallelism: 1\n  vllm_version: v0.8.4\n"
    entry += f"  alpha_coeffs: [1, 2, 3]\n  beta_coeffs: [1, 2, 0x{'f' * 5_000}]\n"
    (tmp_path / "defaults.yaml").write_text(entry)
    with pytest.raises(TraceError, match="a number of too many digits") as refused:
        read(tmp_path, "defaults.yaml", "blis")
    assert len(str(refused.value).splitlines()) == 1


def test_a_time_too_long_for_another_unit_is_refused(tmp_path: Path) -> None:
    sample = {"actual_ttft_ms": 1e306, "actual_tpot_ms": 1.0, "input_token_length": 3}
    sample |= {"kv_cache_percentage": 0.1, "num_request_waiting": 0, "num_request_running": 1}
    sample |= {"num_tokens_generated": 1, "prefix_cache_score": 0.5}
    (tmp_path / "s.jsonl").write_text(json.dumps(sample) + "\n")
    with pytest.raises(TraceError, match=r"actual_ttft_ms is 1e\+306, no finite number"):
        read(tmp_path, "s.jsonl", "llm-d")


def test_an_unknown_model_of_a_long_name_is_told_shortly() -> None:
    with pytest.raises(DataError) as refused:
        CATALOG.models.get("x" * 10_000 + "\n")
    assert len(str(refused.value)) < 300


def test_a_line_separator_in_recorded_names_breaks_no_line(tmp_path: Path) -> None:
    head = "cv_type,holdout,n_train,n_test,valid_mape,test_mape,test_mspe,test_r,experiment_id"
    (tmp_path / "f.csv").write_text(f"{head},model,workload\nlomo,a,9,9,1,1,1,1,,,\n")
    importance = f"cv_type,holdout,feature,importance\nlomo,b\x1d{'x' * 9_000},t,1\n"
    (tmp_path / "i.csv").write_text(importance)
    with pytest.raises(TraceError, match=r"lomo / b\\x1dx+... is none of the recorded") as refused:
        read_recorded(tmp_path / "f.csv", tmp_path / "i.csv")
    assert len(str(refused.value).splitlines()) == 1


def test_a_scheduler_file_nested_without_end_is_none(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"address": ' + "[" * 100_000)
    with pytest.raises(EnvironmentFaultError, match="is no Dask scheduler file"):
        scheduler_address(str(tmp_path / "s.json"))


@pytest.mark.parametrize(
    "holder",
    ["[" * 100_000, '{"pid": Infinity, "host": "a"}', '{"pid": 1}', "[]"],
    ids=lambda holder: holder[:12],
)
def test_a_holder_of_a_lock_that_says_nothing_is_none(holder: str, tmp_path: Path) -> None:
    (tmp_path / ".lock-holder").write_text(holder)
    assert lock_holder(tmp_path) == ""
    (tmp_path / ".lock-holder").write_text(json.dumps({"pid": 1, "host": "a\n\x1b" + "b" * 9_000}))
    assert len(lock_holder(tmp_path)) < 120
    assert lock_holder(tmp_path).isprintable()


@pytest.mark.parametrize(
    "address",
    [
        *("tcp://", "tcp://[", "tcp://localhost:port", "inproc://x", "ucx://x", "nosuch://x"),
        *("://", "tcp://\0", "tcp://\udcff:1", "tcp://" + "x" * 5_000 + ":1", "http://127.0.0.1:1"),
        *("x" * 5_000, "~nosuchuser/x.json", "x\0.json", "/nonexistent/s.json"),
    ],
    ids=lambda address: ascii(address)[:20],
)
def test_an_address_that_is_none_is_refused_in_one_line(address: str) -> None:
    with (
        pytest.raises(EnvironmentFaultError) as refused,
        connected(ExecutionSpec(scheduler=address)),
    ):
        pass
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 6_000


def test_tables_that_do_not_fit_together_are_told_as_such(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"do not fit together \(KeyError: '0.95'; GPUCV_DEBUG=1 sh"),
        from_others(tmp_path),
    ):
        raise KeyError("0.95")
    with pytest.raises(AssertionError), from_others(tmp_path):
        raise AssertionError


def test_times_whose_sums_overflow_are_audited_without_a_warning(tmp_path: Path) -> None:
    frame = pd.DataFrame({"model": ["a", "b"] * 40, "step.duration_us": [1.7e308, 1.6e308] * 40})
    frame.assign(x=frame["step.duration_us"]).to_parquet(tmp_path / "t.parquet")
    audited = audit_traces(AuditRequest(("t.parquet",), tmp_path, "table"), CATALOG)
    assert audited.audit.targets


def test_a_clock_that_is_no_number_gives_no_cycle_and_no_warning() -> None:
    steps = pd.DataFrame({STEP_ID: range(3), TS_START_NS: [np.inf, np.inf, 5.0]})
    derived, _ = derive_targets(steps)
    assert not np.isfinite(derived[CYCLE_US]).any()


@pytest.mark.parametrize("score", [10**400, "x", [1]], ids=["huge", "text", "list"])
def test_a_score_that_is_no_number_is_a_damaged_record(score: object) -> None:
    record = {"schema": 1, "scores": {"test_mape": score}, "importance": {}, "seconds": {}}
    with pytest.raises(RunError, match="damaged fold record: "):
        FoldRecord.from_json_object(record | {"experiments": []})


@pytest.mark.parametrize(("name", "value"), [("scheme", 2**63), ("key", None), ("n_test", "3")])
def test_a_field_of_another_type_is_a_damaged_record(name: str, value: object) -> None:
    text = ("key", "scheme", "holdout", "predictor", "transform", "target", "status", "device")
    record: dict[str, Any] = {"schema": 1, "fold_id": 0, **dict.fromkeys(text, "x")}
    record |= {"n_train": 1, "n_valid": 1, "n_test": 1}
    record |= {"experiments": [], "scores": {}, "importance": {}, "seconds": {}}
    assert FoldRecord.from_json_object(record).scheme == "x"
    with pytest.raises(RunError, match=f"damaged fold record: {name} is "):
        FoldRecord.from_json_object(record | {name: value})
