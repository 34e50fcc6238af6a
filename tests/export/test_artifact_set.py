"""A good set: what it holds, and that it answers as the run's own pipeline does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import DataError, StudyError
from gpucv.export import ArtifactSet
from gpucv.export.answers import LARGEST_US, whole_microseconds
from gpucv.export.program import INPUTS
from gpucv.pipelines import Setting, examples_of, fit_pipeline
from gpucv.workflow.exported_rows import open_subject
from gpucv.workflow.exporting import ExportRequest, export_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = ["llama-2-7b/h100/tp1", "mixtral-8x7b-v0-1/h100/tp2"]


def walk(model: dict[str, Any], X: np.ndarray) -> np.ndarray:
    """Sum the trees as XGBoost documents it: base score first, in float32, tree by tree."""
    learner = model["learner"]
    base = learner["learner_model_param"]["base_score"].strip("[]")
    total = np.full(len(X), np.float32(base), dtype=np.float32)
    rows = np.arange(len(X))
    for tree in learner["gradient_booster"]["model"]["trees"]:
        left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
        values = np.array(tree["split_conditions"], dtype=np.float32)
        index, default = np.array(tree["split_indices"]), np.array(tree["default_left"])
        node = np.zeros(len(X), dtype=int)
        while (left[node] != -1).any():
            x = X[rows, index[node]]
            goes_left = np.where(np.isnan(x), default[node] == 1, x < values[node])
            node = np.where(left[node] == -1, node, np.where(goes_left, left[node], right[node]))
        total = total + values[node]
    return total


def test_a_set_has_one_artifact_for_each_configuration(opened: ArtifactSet) -> None:
    assert opened.ids == IDS
    for entry in opened.manifest.artifacts:
        assert (entry.target, entry.unit, entry.rows) == ("step.duration_us", "us", 300)
        assert (entry.trees, entry.transform, entry.predictor) == (12, "log", "scale-free")
        assert {feature.available for feature in entry.features} == {"sim-available"}
        assert all(feature.range for feature in entry.features)


def test_paths_hold_numbers_only(made_set: Path) -> None:
    files = sorted(str(path.relative_to(made_set)) for path in made_set.rglob("*.*"))
    numbered = [f"models/{n:04d}.{kind}" for n in (1, 2) for kind in ("json", "ubj")]
    assert files == sorted(["golden/0001.json", "golden/0002.json", "manifest.json", *numbered])


@pytest.mark.parametrize("name", IDS)
def test_margins_of_golden_rows_are_the_sums_of_the_trees(made_set: Path, name: str) -> None:
    artifacts = ArtifactSet.load(made_set)
    entry, golden = artifacts.entry(name), artifacts.golden(name)
    model = json.loads((made_set / entry.model_files.json_.path).read_bytes())
    assert np.array_equal(walk(model, golden.features), golden.margins)
    assert len(golden) >= 256
    assert np.isnan(golden.inputs).any()
    assert np.isinf(golden.inputs).any()


@pytest.mark.parametrize("trusted", [False, True])
def test_golden_rows_get_their_answers_to_the_last_bit(made_set: Path, trusted: bool) -> None:
    artifacts = ArtifactSet.load(made_set, trusted=trusted)
    for name in artifacts.ids:
        golden = artifacts.golden(name)
        X, z, values = artifacts.model(name).answers(golden.inputs)
        assert np.array_equal(X, golden.features, equal_nan=True)
        assert np.array_equal(z, golden.margins)
        assert np.array_equal(values, golden.values, equal_nan=True)


def test_golden_rows_stand_on_thresholds_and_beside_them(opened: ArtifactSet) -> None:
    entry, golden = opened.manifest.artifacts[0], opened.golden(IDS[0])
    model = json.loads((opened.root / entry.model_files.json_.path).read_bytes())
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    compared = {
        (tree["split_indices"][at], np.float32(tree["split_conditions"][at]))
        for tree in trees
        for at, left in enumerate(tree["left_children"])
        if left != -1
    }
    ties = sum((at, x) in compared for row in golden.features[256:] for at, x in enumerate(row))
    assert ties >= 8


@pytest.mark.parametrize("label", ["scale-free", "layered", "over blackbox", "over constant"])
def test_an_artifact_predicts_what_the_pipeline_does(
    run_folder: Path, export: Callable[..., list[str]], tmp_path: Path, label: str
) -> None:
    export(tmp_path / "set", predictor=label)
    artifacts = ArtifactSet.load(tmp_path / "set", trusted=True)
    subject = open_subject(run_folder, unverified=False)
    (spec,) = [each for each in subject.study.predictors if each.title == label]
    for each in subject.configurations:
        train = examples_of(subject.table, each.rows)
        setting = Setting(42, 1, "cpu", 0, ("experiment_id",), "experiment_id", subject.table)
        fitted = fit_pipeline(spec, train, None, setting, train.inputs)
        found = artifacts.model(each.id).predict(subject.frame.iloc[each.rows])
        np.testing.assert_allclose(found.values, fitted.predict(train.inputs), rtol=1e-12)
        assert np.array_equal(found.us, np.maximum(np.rint(found.values), 1))
        assert (found.outside == 0).all()


def test_a_monotone_predictor_says_which_features_never_lower_a_time(
    export: Callable[..., list[str]], tmp_path: Path
) -> None:
    export(tmp_path / "set", predictor="layered")
    (first, _) = ArtifactSet.load(tmp_path / "set").manifest.artifacts
    assert {feature.monotone for feature in first.features} == {1}
    assert "t_prefill_per_weights" not in {feature.name for feature in first.features}
    assert first.reference is not None


def test_batches_beyond_what_was_learnt_are_told(opened: ArtifactSet, steps: pd.DataFrame) -> None:
    artifact = opened.model(IDS[0])
    rows = steps[steps["model"] == "llama-2-7b"].head(3).reset_index(drop=True)
    assert artifact.predict(rows).outside.tolist() == [0, 0, 0]
    far = rows.assign(**{"batch.scheduled_tokens": 10**7})
    found = artifact.predict(far)
    assert (found.outside >= 1).all()
    unknown = artifact.predict(rows.drop(columns="batch.num_prefill_reqs"))
    assert (unknown.outside == 1).all()


def test_arrays_and_frames_get_the_same_answer(opened: ArtifactSet, steps: pd.DataFrame) -> None:
    artifact = opened.model(IDS[0])
    arrays = {name: steps[name].to_numpy() for name in INPUTS if name in steps}
    assert np.array_equal(artifact.predict(arrays).us, artifact.predict(steps).us)


def test_steps_without_a_batch_are_refused(opened: ArtifactSet) -> None:
    with pytest.raises(DataError, match=r"none of the columns batch\.prefill_tokens"):
        opened.model(IDS[0]).predict(pd.DataFrame({"tokens": [1]}))


@pytest.mark.parametrize(
    "name",
    [
        "llama-2-7b",
        " LLAMA-2-7B ",
        "meta-llama/Llama-2-7b-hf",
        "someone/llama2-7b",
        "llama-2-7b/h100/tp1",
    ],
)
def test_a_model_is_found_by_any_name_it_goes_by(opened: ArtifactSet, name: str) -> None:
    assert opened.entry(name).id == IDS[0]


def test_a_name_nobody_has_gets_the_nearest_one(opened: ArtifactSet) -> None:
    with pytest.raises(StudyError, match=r"did you mean 'llama-2-7b'\?; it has llama-2-7b/h100"):
        opened.entry("lama-2-7b")


def test_a_model_in_two_configurations_is_named_with_what_tells_them_apart(
    steps: pd.DataFrame, tmp_path: Path
) -> None:
    one = steps[steps["model"] == "llama-2-7b"]
    other = one.assign(tp=2, experiment_id=one["experiment_id"] + " tp2")
    artifacts = exported(pd.concat([one, other]), tmp_path)
    assert artifacts.ids == ["llama-2-7b/h100/tp1", "llama-2-7b/h100/tp2"]
    with pytest.raises(StudyError, match=r"several artifacts here; name one: .*tp1, .*tp2"):
        artifacts.entry("Llama-2-7b")
    assert artifacts.entry("meta-llama/Llama-2-7b-hf/h100/tp2").tp == 2
    assert artifacts.entry("llama2-7b/h100/tp1").tp == 1


def test_engine_versions_are_configurations_of_their_own(
    steps: pd.DataFrame, tmp_path: Path
) -> None:
    one = steps[steps["model"] == "llama-2-7b"].assign(engine_version="0.15.1")
    other = one.assign(engine_version="0.16.0", experiment_id=one["experiment_id"] + " 0.16")
    artifacts = exported(pd.concat([one, other]), tmp_path)
    assert artifacts.ids == ["llama-2-7b/h100/tp1/0.15.1", "llama-2-7b/h100/tp1/0.16.0"]


def exported(frame: pd.DataFrame, folder: Path, **sections: Any) -> ArtifactSet:
    """Export a study of `frame` that was never run."""
    import tomli_w

    frame.to_parquet(folder / "steps.parquet")
    content = {
        "data": {"steps": ["steps.parquet"], "audit": "off"},
        "features": {"columns": ["batch.prefill_tokens", "batch.decode_tokens", "tp"]},
        "schemes": [{"name": "lowo", "hold_out": "workload"}],
        "predictors": [{"params": {"n_estimators": 3}}],
        **sections,
    }
    (folder / "study.toml").write_text(tomli_w.dumps(content))
    subject = open_subject(folder / "study.toml", unverified=True)
    export_set(subject, folder / "set", ExportRequest(), lambda line: None)
    return ArtifactSet.load(folder / "set", trusted=True)


def test_missing_counts_of_plain_columns_are_missing_values(
    steps: pd.DataFrame, tmp_path: Path
) -> None:
    one = steps[steps["model"] == "llama-2-7b"].astype({"batch.decode_tokens": float})
    one.loc[one.index[::9], "batch.decode_tokens"] = np.nan
    artifacts = exported(one, tmp_path)
    features = {each.name: each for each in artifacts.manifest.artifacts[0].features}
    assert features["batch.decode_tokens"].missing
    assert features["batch.decode_tokens"].undefined is None
    assert features["tp"].available == "metadata"
    assert artifacts.model("llama-2-7b").predict(one).outside.max() == 0


def test_early_stopping_leaves_the_rounds_it_chose(steps: pd.DataFrame, tmp_path: Path) -> None:
    artifacts = exported(
        steps[steps["model"] == "llama-2-7b"],
        tmp_path,
        validation={"order": "time", "early_stopping_rounds": 2},
        predictors=[{"params": {"n_estimators": 200, "learning_rate": 0.5}}],
    )
    (entry,) = artifacts.manifest.artifacts
    assert 0 < entry.trees < 200
    assert artifacts.model(entry.id).booster.num_boosted_rounds() == entry.trees


def test_contexts_recorded_in_every_step_make_the_speed_of_light_known(
    steps: pd.DataFrame, tmp_path: Path
) -> None:
    contexts = steps["batch.num_decode_reqs"] * 500
    artifacts = exported(
        steps.assign(**{"kv.tokens_sum": contexts}),
        tmp_path,
        predictors=[
            {"transform": "utilisation", "features": "transfer", "params": {"n_estimators": 3}}
        ],
    )
    artifact = artifacts.model(artifacts.ids[0])
    rows = steps[steps["model"] == "llama-2-7b"].reset_index(drop=True)
    few, many = (artifact.predict(rows.assign(**{"kv.tokens_sum": n})) for n in (0, 10**8))
    assert (many.values > few.values).all()


def test_times_are_whole_at_least_one_and_below_two_to_the_63() -> None:
    values = np.array([0.5, 1.5, 2.5, -3.0, 1e300, np.inf, -np.inf, np.nan])
    assert whole_microseconds(values).tolist() == [1, 2, 2, 1, LARGEST_US, LARGEST_US, 1, 0]


def test_many_threads_may_ask_one_artifact_at_once(made_set: Path) -> None:
    artifact = ArtifactSet.load(made_set, trusted=True).model("llama-2-7b")
    rng = np.random.default_rng(0)
    steps = [{name: rng.uniform(0, 500, n) for name in INPUTS} for n in (12_000, 5)]
    wanted = [artifact.predict(each).us for each in steps]

    def same(number: int) -> bool:
        asked = number % 2
        return bool((artifact.predict(steps[asked]).us == wanted[asked]).all())

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert all(pool.map(same, range(160)))
