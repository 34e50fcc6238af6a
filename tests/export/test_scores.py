"""What a set says of its predictors is what the run found, or what the folds find again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tomli_w
import xgboost

import gpucv
from gpucv.catalog import load_catalog
from gpucv.errors import DataError, EnvironmentFaultError, RunError, StudyError
from gpucv.export import ArtifactSet
from gpucv.export.reduced import Budget
from gpucv.features import build_features
from gpucv.study import FeatureSpec
from gpucv.workflow import Result
from gpucv.workflow.exported_rows import open_subject
from gpucv.workflow.exporting import ExportRequest, export_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

TRACE_ONLY = {
    "f_kv_gpu_usage",
    "f_kv_blocks_used",
    "f_kv_blocks_free",
    "f_running_depth",
    "f_kv_pressure",
    "f_kv_pressure_x_decode_reqs",
    "f_prefill_x_kv_usage",
    "f_batch_size_x_kv_pressure",
}
MODELS = {"llama-2-7b": "llama-2-7b/h100/tp1", "mixtral-8x7b-v0-1": "mixtral-8x7b-v0-1/h100/tp2"}


def lomo(artifacts: ArtifactSet, model: str) -> Any:
    """What the set says of the fold that held a model out."""
    (found,) = [each for each in artifacts.entry(model).held_out if each.scheme == "lomo"]
    return found


@pytest.mark.parametrize("model", MODELS)
def test_the_score_of_a_held_out_model_is_the_runs_to_the_last_bit(
    made_set: Path, run_folder: Path, model: str
) -> None:
    folds = Result.load(run_folder).folds
    (fold,) = folds[
        (folds["scheme"] == "lomo")
        & (folds["holdout"] == model)
        & (folds["predictor"] == "scale-free")
    ].to_dict("records")
    found = lomo(ArtifactSet.load(made_set), model)
    assert (found.n, found.mape, found.mspe, found.wape) == (
        fold["n_test"],
        fold["test_mape"],
        fold["test_mspe"],
        fold["test_wape"],
    )


def test_of_other_folds_only_the_configurations_own_rows_count(
    made_set: Path, run_folder: Path
) -> None:
    predictions = Result.load(run_folder).predictions
    mine = predictions[
        (predictions["predictor"] == "scale-free")
        & (predictions["scheme"] == "lowo")
        & predictions["experiment_id"].astype(str).str.contains("llama-2-7b")
    ]
    entry = ArtifactSet.load(made_set).entry("llama-2-7b")
    found = {each.holdout: each for each in entry.held_out if each.scheme == "lowo"}
    assert set(found) == {"codegen", "general"}
    for holdout, rows in mine.groupby("holdout", observed=True):
        error = (rows["predicted"] - rows["actual"]) / rows["actual"]
        assert found[holdout].n == len(rows) == 150
        assert found[holdout].mape == pytest.approx(100 * error.abs().mean(), rel=1e-12)
        assert found[holdout].mspe == pytest.approx(100 * error.mean(), rel=1e-12)


@pytest.fixture(scope="module")
def refusal(export: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.raises(DataError) as caught:
        export(tmp_path_factory.mktemp("refused") / "set", predictor="published")
    return str(caught.value)


def test_features_no_simulator_knows_are_refused_by_name_and_with_their_worth(
    refusal: str, run_folder: Path
) -> None:
    assert {word.strip("(),") for word in refusal.split() if "f_" in word} == TRACE_ONLY
    folds = Result.load(run_folder).folds
    published = folds[(folds["predictor"] == "published") & (folds["scheme"] == "lomo")]
    assert f"lomo MAPE {published['test_mape'].mean():.1f} % -> " in refusal
    assert "--drop-trace-only" in refusal


def test_nothing_is_written_of_a_refused_set(
    export: Callable[..., list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="trace-only"):
        export(tmp_path / "set", predictor="published")
    assert list(tmp_path.iterdir()) == []


def test_without_them_the_same_folds_are_scored_again(
    export: Callable[..., list[str]], steps: pd.DataFrame, tmp_path: Path, refusal: str
) -> None:
    (said,) = export(tmp_path / "set", predictor="published", drop_trace_only=True)
    artifacts = ArtifactSet.load(tmp_path / "set", trusted=True)
    entry = artifacts.entry("llama-2-7b")
    assert len(entry.features) == 22
    assert entry.dropped is not None
    assert set(entry.dropped.features) == TRACE_ONLY
    cost = said.partition(": ")[2]
    assert cost in refusal
    assert lomo(artifacts, "llama-2-7b").mape == pytest.approx(
        without_trace_only(steps, "llama-2-7b"), rel=1e-6
    )


def without_trace_only(steps: pd.DataFrame, held_out: str) -> float:
    """The fold's MAPE by XGBoost alone: three quarters of the other rows, 22 features."""
    frame = steps.sort_values(["experiment_id", "step.id"], ignore_index=True)
    X, names = build_features(frame, FeatureSpec(), load_catalog(), np.float32)
    X = X[:, [at for at, name in enumerate(names) if name not in TRACE_ONLY]]
    train = np.flatnonzero((frame["model"] != held_out).to_numpy())
    train = train[: len(train) - int(len(train) * 0.25)]
    test = np.flatnonzero((frame["model"] == held_out).to_numpy())
    y = frame["step.duration_us"].to_numpy(dtype=float)
    regressor = xgboost.XGBRegressor(
        n_estimators=12,
        max_depth=4,
        learning_rate=0.05,
        min_child_weight=5,
        subsample=0.8,
        colsample_bytree=0.8,
        tree_method="hist",
        random_state=42,
        n_jobs=1,
    ).fit(X[train], y[train])
    return float(100 * np.mean(np.abs(regressor.predict(X[test]) - y[test]) / y[test]))


def test_a_model_too_large_is_pruned_and_scored_anew(
    export: Callable[..., list[str]], made_set: Path, run_folder: Path, tmp_path: Path
) -> None:
    whole = max(path.stat().st_size for path in (made_set / "models").glob("*.json"))
    limit = whole // 2
    (said,) = export(tmp_path / "set", budget=Budget(max_bytes=limit))
    artifacts = ArtifactSet.load(tmp_path / "set", trusted=True)
    entries = artifacts.manifest.artifacts
    (trees,) = {entry.trees for entry in entries}
    assert 1 <= trees < 12
    assert f"pruned from 12 trees to {trees}: lomo MAPE" in said
    assert max(entry.model_files.json_.bytes for entry in entries) <= limit
    assert entries[0].dropped is not None
    assert entries[0].dropped.trees == 12 - trees
    again = gpucv.run(
        run_folder / "study.toml",
        overrides=[f"predictors.0.params.n_estimators={trees}"],
        out=tmp_path / "run",
    )
    folds = again.folds[
        (again.folds["scheme"] == "lomo") & (again.folds["predictor"] == "scale-free")
    ]
    for model in MODELS:
        (wanted,) = folds[folds["holdout"] == model]["test_mape"]
        assert lomo(artifacts, model).mape == wanted


def test_a_model_too_slow_is_pruned_too(
    export: Callable[..., list[str]], made_set: Path, tmp_path: Path
) -> None:
    before = ArtifactSet.load(made_set).manifest.artifacts
    ops = max(len(entry.program["ops"]) for entry in before)
    limit = Budget.estimated_us([4] * 6, ops)
    export(tmp_path / "set", budget=Budget(max_us=limit))
    for entry in ArtifactSet.load(tmp_path / "set").manifest.artifacts:
        assert 4 <= entry.trees < 12


def test_one_tree_too_large_is_refused_with_its_size(
    export: Callable[..., list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"has [\d,]+ bytes and takes about .* us a step; one tree"):
        export(tmp_path / "set", budget=Budget(max_bytes=100))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_as_it_is(export: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("")
    with pytest.raises(EnvironmentFaultError, match="choose another --out"):
        export(tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine"]


def test_a_speed_of_light_of_kv_blocks_is_refused(
    export: Callable[..., list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="speed of light of these rows takes contexts"):
        export(tmp_path / "set", predictor="utilised")


def test_a_predictor_nobody_named_is_refused_with_those_there_are(
    export: Callable[..., list[str]], tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=r"did you mean 'layered/ratio'|did you mean 'layered"):
        export(tmp_path / "set", predictor="layerd")


def study_of(folder: Path, frame: pd.DataFrame, **sections: Any) -> Path:
    frame.to_parquet(folder / "steps.parquet")
    content = {"data": {"steps": ["steps.parquet"], "audit": "off"}, **sections}
    content.setdefault("predictors", [{"params": {"n_estimators": 2}}])
    (folder / "study.toml").write_text(tomli_w.dumps(content))
    return folder / "study.toml"


def test_a_study_that_was_not_run_is_refused(steps: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"run it first .* or add --unverified"):
        open_subject(study_of(tmp_path, steps), unverified=False)


def test_rows_changed_since_the_run_are_refused(steps: pd.DataFrame, tmp_path: Path) -> None:
    gpucv.run(study_of(tmp_path, steps), out=tmp_path / "run")
    changed = steps.assign(**{"step.duration_us": steps["step.duration_us"] + 1})
    changed.to_parquet(tmp_path / "steps.parquet")
    with pytest.raises(RunError, match="the data is not what this run learnt from"):
        open_subject(tmp_path / "run", unverified=False)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"data": {"steps": ["steps.parquet"], "target": "step.seconds"}}, "not in microseconds"),
        ({"predictors": [{"name": "constant"}]}, "no xgboost predictor"),
        (
            {"predictors": [{"params": {"objective": "reg:gamma"}}]},
            "'reg:gamma', whose answer is an exponential",
        ),
        (
            {
                "predictors": [
                    {"transform": "ratio", "baseline": "ridge", "features": "transfer"}
                    | {"params": {"n_estimators": 2}}
                ]
            },
            "baseline 'ridge' has no short formula",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused(
    steps: pd.DataFrame, tmp_path: Path, sections: dict[str, Any], told: str
) -> None:
    frame = steps.assign(**{"step.seconds": steps["step.duration_us"] / 1e6})
    path = study_of(tmp_path, frame, **sections)
    with pytest.raises(StudyError, match=told):
        export_set(
            open_subject(path, unverified=True),
            tmp_path / "set",
            ExportRequest(drop_trace_only=True),
            lambda line: None,
        )


@pytest.mark.parametrize("column", ["gpu", "tp"])
def test_rows_of_no_known_configuration_are_refused(
    steps: pd.DataFrame, tmp_path: Path, column: str
) -> None:
    path = study_of(tmp_path, steps.drop(columns=column))
    with pytest.raises(DataError, match=rf"no '{column}'.*data\.constants\.{column}"):
        open_subject(path, unverified=True)


def test_a_set_is_the_same_whenever_it_is_made(
    export: Callable[..., list[str]], made_set: Path, tmp_path: Path
) -> None:
    export(tmp_path / "set")
    for path in sorted(made_set.rglob("*.*")):
        one, other = path.read_bytes(), (tmp_path / "set" / path.relative_to(made_set)).read_bytes()
        if path.name == "manifest.json":
            one, other = ({**json.loads(x), "created": ""} for x in (one, other))
        assert one == other, path.name
