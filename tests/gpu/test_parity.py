"""How near a GPU comes to a CPU: `pytest -m gpu --require-gpu` on a machine with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.features import build_table
from gpucv.folds import run_fold
from gpucv.folds.sharing import shared_table
from gpucv.predictors import FitContext, make_predictor
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.machine import Device

pytestmark = pytest.mark.gpu

STUDY = Path(__file__).resolve().parents[2] / "examples" / "h3-generalization.toml"
DEVICES: tuple[Device, Device] = ("cpu", "cuda")
ALL_ROWS = {"n_estimators": 300, "subsample": 1.0, "colsample_bytree": 1.0}


@pytest.mark.parametrize("features", ["", "transfer"])
@pytest.mark.parametrize("transform", ["raw", "utilisation"])
def test_features_are_the_same_within_rounding(
    planned: Callable[..., Any], features: str, transform: str
) -> None:
    predictor = {"transform": transform, **({"features": features} if features else {})}
    (here, _), (there, _) = (planned(device, predictor) for device in DEVICES)
    assert there.features_on == "cudf", "cuDF is what this suite is about"
    assert here.feature_names == there.feature_names
    np.testing.assert_allclose(here.X, there.X, rtol=1e-6)
    if here.sol_us is not None:
        np.testing.assert_allclose(here.sol_us, there.sol_us, rtol=1e-12)


@pytest.mark.parametrize("name", ["roofline", "splitwise", "trained-physics"])
def test_inputs_of_fixed_forms_are_the_same_within_rounding(
    planned: Callable[..., Any], name: str
) -> None:
    (here, _), (there, _) = (planned(device, {"name": name}) for device in DEVICES)
    np.testing.assert_allclose(here.X, there.X, rtol=1e-6)


@pytest.fixture(scope="module")
def operators() -> pd.DataFrame:
    """Matrix products with their work, as a reader of operators writes them."""
    draw = np.random.default_rng(5)
    m, n, k = (draw.integers(1, 8192, 5000).astype(float) for _ in range(3))
    frame = pd.DataFrame({"m": m, "n": n, "k": k, "num_tokens": m})
    frame["flops"], frame["bytes"] = 2 * m * n * k, 2 * (m * n + n * k + m * k)
    frame["peak_flops"], frame["memory_bandwidth"] = 989e12, 3.35e12
    frame["sol_us"] = np.maximum(frame["flops"] / 989e6, frame["bytes"] / 3.35e6)
    frame["latency_us"] = frame["sol_us"] * draw.uniform(1.1, 3, len(frame)) + 5
    for column, values in {
        "gpu": ["h100", "a100", "unheard of"],
        "dtype": ["float16", "fp8"],
        "engine": ["vllm", "trtllm", ""],
        "engine_version": ["1.3.0rc2", "0.9.1", "nightly"],
        "op": ["gemm"],
        "kernel": ["cutlass", "triton"],
        "model": ["a", "b", "c"],
    }.items():
        frame[column] = draw.choice(values, len(frame))
    frame.loc[::17, "n"] = np.nan  # no tiles
    return frame


@pytest.mark.parametrize(
    "predictor",
    [{"features": "transfer"}, {"name": "vidur"}, {"name": "launch-roofline"}],
    ids=lambda each: next(iter(each.values())),
)
def test_features_of_operators_are_the_same_within_rounding(
    operators: pd.DataFrame, predictor: dict[str, Any]
) -> None:
    raw = {
        "data": {"target": "latency_us"},
        "features": {"columns": ["m", "k"]},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [predictor],
    }
    study = study_from_dict(raw, base=Path())
    here, there = (
        build_table(operators, study.study, study.catalog, on=device) for device in DEVICES
    )
    assert there.features_on == "cudf"
    np.testing.assert_allclose(here.X, there.X, rtol=1e-6)
    coded = [here.feature_names.index(name) for name in here.labels]
    np.testing.assert_array_equal(here.X[:, coded], there.X[:, coded])


def test_trees_without_sampling_on_the_same_bins_err_alike(planned: Callable[..., Any]) -> None:
    table, tasks = planned("cpu", {"params": ALL_ROWS})
    squares = {"cpu": 0.0, "cuda": 0.0}
    for task in tasks:
        labels = table.keys[task.scheme.columns[0]]
        held_out = labels.codes == labels.names.index(task.holdout)
        for device in DEVICES:
            predictor = make_predictor("xgboost", ALL_ROWS, FitContext(42, 2, device))
            # Rows of the host are binned by the host: the same bins for both.
            predictor.fit(table.X[~held_out], table.y[~held_out], None)
            predicted = predictor.predict(table.X[held_out])
            squares[device] += float(((predicted - table.y[held_out]) ** 2).sum())
    assert np.sqrt(squares["cuda"]) == pytest.approx(np.sqrt(squares["cpu"]), rel=0.005)


def test_whole_folds_without_sampling_err_alike(planned: Callable[..., Any]) -> None:
    squares = {}
    for device in DEVICES:
        table, tasks = planned(device, {"params": ALL_ROWS})
        with shared_table(table):
            found = [run_fold(task)[1] for task in tasks]
        squares[device] = sum(float(((a.predicted - a.actual) ** 2).sum()) for a in found)
    # Each device sketches its own bins.
    assert np.sqrt(squares["cuda"]) == pytest.approx(np.sqrt(squares["cpu"]), rel=0.02)


@pytest.mark.slow
def test_the_published_study_has_the_same_verdict(tmp_path: Path) -> None:
    verdicts = {}
    for device in DEVICES:
        result = gpucv.run(STUDY, out=tmp_path / device, overrides=[f'execution.device="{device}"'])
        assert result.manifest["device"]["by_fold"] == [device]
        verdicts[device] = [each.label for each in result.verdicts]
        assert (result.folds["status"] == "ok").all()
    assert verdicts["cpu"] == verdicts["cuda"]
