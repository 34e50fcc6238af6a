"""The published protocol, written a second time in plain pandas and XGBRegressor.

Nothing of gpucv computes anything on this side of the comparison: features, sort
order, split, training and scores all come from the protocol's description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.errors import SplitError

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "step.duration_us"
KEY = ["experiment_id", "step.id"]


class Llm(NamedTuple):
    """Hidden size, layers, heads, key-value heads, MLP width, experts, experts per token, TP."""

    number: int
    d: float
    layers: float
    heads: float
    kv_heads: float
    f: float
    experts: float
    per_token: float
    tp: float


LLMS = {
    "codellama-34b": Llm(0, 8192, 48, 64, 8, 22016, 1, 1, 2),
    "llama-2-70b": Llm(2, 8192, 80, 64, 8, 28672, 1, 1, 4),
}
BALANCE = 989.5e12 / (3.35e12 * 0.82)


def read(folder: Path) -> pd.DataFrame:
    frame = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    frame["model"] = frame["model"].str.removesuffix("-hf")
    return frame.sort_values(KEY, kind="stable").reset_index(drop=True)


def features(frame: pd.DataFrame) -> pd.DataFrame:
    def column(name: str, missing: float = 0.0) -> pd.Series:
        return frame[name].astype("float64").fillna(missing)

    facts = pd.DataFrame([LLMS[name]._asdict() for name in frame["model"]]).astype("float64")
    p, dec = column("batch.prefill_tokens"), column("batch.decode_tokens")
    s = column("batch.scheduled_tokens")
    n_p, n_d = column("batch.num_prefill_reqs"), column("batch.num_decode_reqs")
    usage, running = column("kv.usage_gpu_ratio"), column("queue.running_depth")
    total, free = column("kv.blocks_total_gpu", 1.0), column("kv.blocks_free_gpu")
    pressure = (total - free) / total.clip(lower=1)

    d, per_gpu = facts.d, facts.layers / facts.tp
    d_kv = facts.kv_heads * d / facts.heads
    share = facts.per_token.where(facts.experts <= 1, facts.per_token / facts.experts)
    share = share.where(facts.experts > 1, 1.0)
    is_moe = (facts.experts > 1).astype("float64")
    per_token = per_gpu * (2 * (d**2 + 2 * d * d_kv) + 2 * d**2 + 6 * d * facts.f * share)
    weights = 2 * per_gpu * (d * (d + 2 * d_kv) + d**2 + 3 * d * facts.f)
    intensity = s * per_token / weights.clip(lower=1)
    table = pd.DataFrame(
        {
            "f_prefill_tokens": p,
            "f_decode_tokens": dec,
            "f_scheduled_tokens": s,
            "f_num_prefill_reqs": n_p,
            "f_num_decode_reqs": n_d,
            "f_kv_gpu_usage": usage,
            "f_kv_blocks_used": total - free,
            "f_kv_blocks_free": free,
            "f_running_depth": running,
            "f_kv_pressure": pressure,
            "f_prefill_fraction": p / s.clip(lower=1),
            "f_decode_fraction": dec / s.clip(lower=1),
            "f_is_mixed_batch": ((n_p > 0) & (n_d > 0)).astype("float64"),
            "f_is_pure_prefill": (n_d == 0).astype("float64"),
            "f_total_flops_estimate": s * per_token,
            "f_arithmetic_intensity": intensity,
            "f_compute_bound_indicator": (intensity > BALANCE).astype("float64"),
            "f_prefill_compute_intensity": (p * per_token / weights.clip(lower=1)).where(p > 0, 0),
            "f_decode_memory_intensity": (weights / (dec * per_token).clip(lower=1)).where(
                dec > 0, 0
            ),
            "f_attention_flops_ratio": 0.0,
            "f_gemm_flops_ratio": 1.0,
            "f_active_param_ratio": share,
            "f_model_id": facts.number,
            "f_tp_degree": facts.tp,
            "f_is_moe": is_moe,
            "f_prefill_x_decode": p * dec,
            "f_kv_pressure_x_decode_reqs": pressure * n_d,
            "f_intensity_x_moe": intensity * is_moe,
            "f_prefill_x_kv_usage": p * usage,
            "f_batch_size_x_kv_pressure": (n_p + n_d) * pressure,
        }
    )
    return table.replace([np.inf, -np.inf], np.nan).fillna(0.0)


def scores(actual: pd.Series, predicted: np.ndarray) -> dict[str, float]:
    measured = (actual != 0).to_numpy()
    error = 100 * (predicted - actual)[measured] / actual[measured]
    return {
        "test_mape": float(error.abs().mean()),
        "test_mspe": float(error.mean()),
        "test_r": float(np.corrcoef(actual, predicted)[0, 1]),
    }


def one_fold(frame: pd.DataFrame, X: pd.DataFrame, model: str) -> dict[str, Any]:
    from xgboost import XGBRegressor

    held = (frame["model"] == model).to_numpy()
    rows = np.flatnonzero(~held)
    n_valid = int(len(rows) * 0.25)
    fit, valid = rows[: len(rows) - n_valid], rows[len(rows) - n_valid :]
    regressor = XGBRegressor(
        n_estimators=300,
        max_depth=6,
        learning_rate=0.05,
        min_child_weight=5,
        subsample=0.8,
        colsample_bytree=0.8,
        random_state=42,
        tree_method="hist",
        n_jobs=1,
    )
    regressor.fit(X.iloc[fit], frame[TARGET].iloc[fit])
    predicted = regressor.predict(X[held])
    held_out = frame[held].assign(predicted=predicted)
    return {
        "n_train": len(rows),
        "n_valid": n_valid,
        "n_test": int(held.sum()),
        "valid_mape": scores(frame[TARGET].iloc[valid], regressor.predict(X.iloc[valid]))[
            "test_mape"
        ],
        **scores(frame[TARGET][held], predicted),
        "experiments": {
            name: scores(rows[TARGET], rows["predicted"].to_numpy())
            for name, rows in held_out.groupby("experiment_id")
        },
        "importance": dict(zip(X.columns, regressor.feature_importances_.tolist(), strict=True)),
    }


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> Path:
    return shared_data / "vllm-steps"


@pytest.fixture(scope="module")
def independent(recordings: Path) -> dict[str, dict[str, Any]]:
    frame = read(recordings)
    X = features(frame)
    return {model: one_fold(frame, X, model) for model in LLMS}


@pytest.fixture(scope="module")
def study(recordings: Path) -> dict[str, Any]:
    return {
        "name": "two-recordings",
        "data": {"steps": [str(recordings)], "audit": "warn"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }


@pytest.fixture(scope="module")
def result(study: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> gpucv.Result:
    return gpucv.run(study, out=tmp_path_factory.mktemp("lomo") / "run")


@pytest.mark.shared_data
@pytest.mark.parametrize("model", LLMS)
def test_every_fold_agrees(
    result: gpucv.Result, independent: dict[str, dict[str, Any]], model: str
) -> None:
    fold = result.folds.set_index("holdout").loc[model]
    theirs = independent[model]
    for count in ("n_train", "n_valid", "n_test"):
        assert fold[count] == theirs[count]
    for metric in ("valid_mape", "test_mape", "test_mspe", "test_r"):
        assert fold[metric] == pytest.approx(theirs[metric], rel=1e-6), metric


@pytest.mark.shared_data
@pytest.mark.parametrize("model", LLMS)
def test_every_experiment_agrees(
    result: gpucv.Result, independent: dict[str, dict[str, Any]], model: str
) -> None:
    ours = result.experiments[result.experiments["holdout"] == model].set_index("experiment_id")
    theirs = pd.DataFrame(independent[model]["experiments"]).T
    assert set(ours.index) == set(theirs.index)
    for metric in theirs.columns:
        assert ours[metric].to_dict() == pytest.approx(theirs[metric].to_dict(), rel=1e-6)


@pytest.mark.shared_data
@pytest.mark.parametrize("model", LLMS)
def test_every_importance_agrees(
    result: gpucv.Result, independent: dict[str, dict[str, Any]], model: str
) -> None:
    ours = result.importance[result.importance["holdout"] == model]
    ours_by_feature = dict(zip(ours["feature"], ours["importance"], strict=True))
    assert ours_by_feature == pytest.approx(independent[model]["importance"], rel=1e-5, abs=1e-9)


@pytest.mark.shared_data
def test_feature_sums_agree(study: dict[str, Any], recordings: Path, tmp_path: Path) -> None:
    from gpucv.study import study_from_dict
    from gpucv.workflow.feature_file import write_features

    written = write_features(study_from_dict(study, base=tmp_path), tmp_path / "features.parquet")
    ours = pd.read_parquet(tmp_path / "features.parquet")
    theirs = features(read(recordings))
    assert list(written.names) == list(theirs.columns)
    assert ours[list(written.names)].sum().to_dict() == pytest.approx(
        theirs.sum().to_dict(), rel=1e-9
    )


@pytest.mark.shared_data
def test_one_workload_cannot_be_left_out(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_workload = {**study, "schemes": [{"name": "lowo", "hold_out": "workload"}]}
    with pytest.raises(SplitError, match=r"needs at least 2; the data has 1: 'general'") as caught:
        gpucv.run(by_workload)
    assert caught.value.exit_code == 3
    assert not list(tmp_path.iterdir())
