"""What the simple baselines read of a table, and what they leave in a fold's record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.catalog import load_catalog
from gpucv.errors import DataError
from gpucv.features.inputs import inputs_set
from gpucv.frames import PandasColumns
from gpucv.predictors import FitContext, make_predictor, registration

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load_catalog()


def inputs(frame: pd.DataFrame, predictor: str) -> np.ndarray:
    """What `predictor` is given of a table, before float32."""
    names = registration(predictor).inputs
    assert names is not None
    columns = PandasColumns(frame)
    part = inputs_set(columns).only(names)
    quantities: Any = part.quantities(columns, CATALOG)
    return np.column_stack([feature.formula(quantities) for feature in part.features])


def steps() -> pd.DataFrame:
    """Four batches of a 70B model on four H100: prompts alone, decodes alone, both, none."""
    return pd.DataFrame(
        {
            "model": "llama-2-70b",
            "gpu": "h100",
            "tp": 4,
            "batch.prefill_tokens": [512, 0, 100, 0],
            "batch.decode_tokens": [0, 32, 8, 0],
            "batch.scheduled_tokens": [512, 32, 108, 0],
            "batch.num_prefill_reqs": [1, 0, 1, 0],
            "batch.num_decode_reqs": [0, 32, 8, 0],
            "kv.tokens_sum": [0, 9000, 2000, 0],
        }
    )


def passes(**columns: Any) -> pd.DataFrame:
    """Three passes as the reader of Splitwise's table writes them."""
    base = {"op": ["prompt", "token", "token"], "num_tokens": [512, 512, 4096]}
    work = {"flops": 1e12, "bytes": 1e9, "sol_us": 1e3, "peak_flops": 1e15}
    return pd.DataFrame({**base, **work, "memory_bandwidth": 2e12, **columns})


def test_a_step_is_read_as_its_batch() -> None:
    frame = steps()
    assert inputs(frame, "blackbox").tolist() == [[512, 0], [0, 32], [100, 8], [0, 0]]
    assert inputs(frame, "fairbatching").tolist() == [[512, 0], [32, 9000], [108, 2000], [0, 0]]
    assert inputs(frame, "splitwise").tolist() == [[512, 1, 0], [32, 0, 1], [108, 1, 1], [0, 0, 0]]


def test_steps_and_operators_are_read_as_least_times() -> None:
    compute, memory = inputs(steps(), "roofline").T
    # 70B parameters of 2 bytes over 4 x 3.35 TB/s, and 2 FLOP each over 4 x 989 TFLOP/s.
    assert memory[3] == pytest.approx(70e9 * 2 / (4 * 3.35e12) * 1e6, rel=0.05)
    assert compute[0] == pytest.approx(512 * 70e9 * 2 / (4 * 989e12) * 1e6, rel=0.05)
    assert inputs(passes(), "roofline").tolist() == [[1000, 500]] * 3


def test_a_pass_is_read_off_the_curve_of_its_operator() -> None:
    assert inputs(passes(), "splitwise").tolist() == [[512, 1, 0], [512, 0, 1], [4096, 0, 1]]
    assert inputs(passes().drop(columns="op"), "splitwise")[:, 1:].tolist() == [[0, 0]] * 3
    assert inputs(passes(op="mlp"), "splitwise")[:, 1:].tolist() == [[0, 0]] * 3


@pytest.mark.parametrize(
    ("column", "predictor", "lost"),
    [
        ("batch.prefill_tokens", "blackbox", [0]),
        ("batch.decode_tokens", "blackbox", [1]),
        ("batch.scheduled_tokens", "fairbatching", [0]),
        ("batch.prefill_tokens", "splitwise", [0, 1]),
        ("batch.num_prefill_reqs", "trained-physics", [2]),
        ("batch.num_decode_reqs", "trained-physics", [3]),
        ("batch.scheduled_tokens", "layered-roofline", [0]),
    ],
)
def test_a_count_that_is_not_recorded_is_missing_and_no_zero(
    column: str, predictor: str, lost: list[int]
) -> None:
    whole = steps()
    absent = whole.drop(columns=column)
    empty = whole.assign(**{column: whole[column].astype(float).where(whole.index != 2)})
    # A mixture reads more experts the more tokens there are; a dense model its only one.
    expert = whole["model"].replace("llama-2-70b", "mixtral-8x7b-v0-1")
    absent, empty = absent.assign(model=expert), empty.assign(model=expert)
    for frame, rows in ((absent, [0, 1, 2, 3]), (empty, [2])):
        found = np.isnan(inputs(frame, predictor))
        assert np.flatnonzero(found.any(axis=0)).tolist() == lost
        assert np.flatnonzero(found.any(axis=1)).tolist() == rows


def test_no_context_recorded_is_none_read() -> None:
    bare = inputs(steps().drop(columns="kv.tokens_sum"), "fairbatching")
    assert bare[:, 1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("predictor", ["splitwise", "roofline"])
def test_what_a_table_does_not_know_is_refused_when_it_is_fitted(predictor: str) -> None:
    lacking = {"splitwise": "num_tokens", "roofline": "peak_flops"}[predictor]
    X = inputs(passes(**{lacking: [np.nan, 512, 512]}), predictor).astype(np.float32)
    made = make_predictor(predictor, {}, FitContext(seed=1, threads=1, device="cpu"))
    with pytest.raises(DataError, match=f"'{predictor}' needs '.*', and 1 of 3 rows have none"):
        made.fit(X, np.ones(3), None)


@pytest.mark.parametrize("predictor", ["blackbox", "fairbatching"])
def test_a_table_of_operators_has_no_batch_to_offer(predictor: str, tmp_path: Path) -> None:
    frame = passes(latency_us=[3e3, 4e3, 5e3], model=["a", "b", "b"])
    study = _study(frame, "latency_us", [{"name": predictor}], tmp_path)
    with pytest.raises(DataError, match=f"predictor '{predictor}'.* no '.*tokens' to offer"):
        gpucv.run(study, out=tmp_path / "run")


def test_coefficients_stand_in_the_record_beside_what_was_chosen(
    few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    form = {"grid": {"form": ["scale", "parts", "max"]}}
    predictors = [
        {"name": "blackbox"},
        {"name": "roofline", "choose": form},
        {"name": "blackbox", "label": "each", "per": "workload"},
        {"name": "constant"},
    ]
    study = _study(few_steps, "step.duration_us", predictors, tmp_path)
    gpucv.run(study, out=tmp_path / "run")
    kept: dict[str, Any] = {}
    for path in sorted((tmp_path / "run" / "folds").glob("*/result.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["status"] == "ok"
        kept[record["predictor"]] = record.get("chosen")
    assert set(kept["blackbox"]["coefficients"]) == {"beta0", "beta1", "beta2"}
    assert kept["roofline"]["form"] in form["grid"]["form"]
    factors = {"factor"} if kept["roofline"]["form"] == "scale" else {"compute_factor"}
    assert factors <= set(kept["roofline"]["coefficients"])
    for workload in ("codegen", "general"):
        assert set(kept["each"]["by_group"][workload]["coefficients"]) == {
            "beta0",
            "beta1",
            "beta2",
        }
    assert not kept["constant"]


def _study(
    frame: pd.DataFrame, target: str, predictors: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """Return a study of `frame` that holds out one model at a time."""
    frame.to_parquet(folder / "rows.parquet")
    return {
        "data": {
            "steps": [str(folder / "rows.parquet")],
            "format": "table",
            "target": target,
            "audit": "off",
        },
        "features": {"columns": ["num_tokens"]} if target == "latency_us" else {},
        "validation": {"fraction": 0},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": predictors,
        "execution": {"workers": 1, "threads_per_fold": 1},
    }
