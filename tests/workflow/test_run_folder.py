from __future__ import annotations

import hashlib
import json
import time
import tomllib
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpucv
from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.machine import Sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]

FOLD_FILES = ["DONE", "model.ubj", "predictions.parquet", "result.json"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_folder_holds_what_it_says(run: Run, tmp_path: Path) -> None:
    result = run()
    assert sorted(p.name for p in result.path.iterdir() if not p.name.startswith(".")) == sorted(
        [
            *("study.toml", "manifest.json", "plan.csv", "folds", "folds.csv", "experiments.csv"),
            *("importance.csv", "stability.csv", "predictions.parquet", "verdict.json"),
            *("leaderboard.csv", "differences.csv", "FINDINGS.md", "report.html"),
            *("timeline.csv", "timeline.svg", "intervals.csv", "coverage.csv"),
            *("errors.csv", "outside.csv", "explanations.csv"),
        ]
    )
    assert sorted(p.name for p in (result.path / "folds").iterdir()) == [
        *("0000", "0001", "0002", "0003")
    ]
    assert {p.name for p in result.path.iterdir() if p.name.startswith(".")} <= {".lock"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "steps.parquet"]


def test_every_output_has_its_hash_in_the_manifest(run: Run) -> None:
    result = run()
    manifest = json.loads((result.path / "manifest.json").read_text(encoding="utf-8"))
    files = {p.name for p in result.path.iterdir() if p.is_file() and not p.name.startswith(".")}
    assert set(manifest["outputs"]) == files - {"manifest.json"}
    for name, entry in manifest["outputs"].items():
        assert entry["sha256"] == sha256(result.path / name)
        assert entry["bytes"] == (result.path / name).stat().st_size


def test_every_fold_has_its_hashes_in_its_done_file(run: Run) -> None:
    root = run().path
    plan = pd.read_csv(root / "plan.csv").set_index("fold_id")
    for fold_id, key in plan["key"].items():
        folder = root / "folds" / f"{fold_id:04d}"
        assert sorted(path.name for path in folder.iterdir()) == FOLD_FILES
        done = json.loads((folder / "DONE").read_text(encoding="utf-8"))
        assert done["key"] == key
        assert done["sha256"] == {name: sha256(folder / name) for name in FOLD_FILES[1:]}


def test_every_json_file_carries_the_schema_version(run: Run) -> None:
    root = run().path
    files = [root / "manifest.json", root / "verdict.json", *root.glob("folds/*/result.json")]
    files += root.glob("folds/*/DONE")
    assert len(files) == 10
    assert {json.loads(path.read_text(encoding="utf-8"))["schema"] for path in files} == {1}
    assert tomllib.loads((root / "study.toml").read_text(encoding="utf-8"))["schema"] == 1


def test_the_plan_names_every_fold(run: Run) -> None:
    result = run()
    plan = pd.read_csv(result.path / "plan.csv")
    assert plan.columns.tolist() == [
        *("fold_id", "key", "scheme", "holdout", "predictor", "transform", "target", "seed"),
        *("n_train", "n_test"),
    ]
    shared = ["scheme", "holdout", "predictor", "transform", "target", "n_train", "n_test"]
    assert plan[shared].to_dict("records") == result.folds[shared].to_dict("records")


def test_predictions_hold_one_row_per_held_out_step_of_every_fold(
    run: Run, few_steps: pd.DataFrame
) -> None:
    predictions = run().predictions
    for scheme in ("lomo", "lowo"):
        of_scheme = predictions[predictions["scheme"] == scheme]
        merged = of_scheme.merge(
            few_steps,
            left_on=["experiment_id", "step_id"],
            right_on=["experiment_id", "step.id"],
            validate="one_to_one",
        )
        assert len(of_scheme) == len(merged) == len(few_steps)
        assert (merged["actual"] == merged["step.duration_us"]).all()
        held_by = "model" if scheme == "lomo" else "workload"
        assert (merged["holdout"].astype(str) == merged[held_by].astype(str)).all()


def test_the_study_in_the_folder_runs_to_the_same_keys(run: Run, tmp_path: Path) -> None:
    root = run().path
    again = gpucv.run(root / "study.toml", out=tmp_path / "again")
    assert (again.path / "plan.csv").read_bytes() == (root / "plan.csv").read_bytes()
    assert (again.path / "study.toml").read_bytes() == (root / "study.toml").read_bytes()


def test_a_trial_run_says_so_everywhere(run: Run) -> None:
    result = run(limit=30)
    assert result.manifest["limit"] == 30
    assert result.manifest["rows"] == 120
    (note,) = [note for note in result.manifest["notes"] if note["code"] == "limited"]
    assert "not a real result" in note["message"]
    for name in ("FINDINGS.md", "report.html"):
        assert "not a real result" in (result.path / name).read_text(encoding="utf-8")


def test_without_out_the_run_lies_under_runs(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = gpucv.run(study)
    assert result.path.parent.name == "runs"
    assert "few-steps" in result.path.name
    assert result.path.resolve().is_relative_to(tmp_path)


@pytest.mark.parametrize("out", ["steps.parquet", "steps.parquet/below", "nul\0byte", "x" * 300])
def test_an_impossible_place_leaves_nothing(out: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFaultError, match="choose another --out"):
        run(out)
    assert [path.name for path in tmp_path.iterdir()] == ["steps.parquet"]


def test_a_refused_study_makes_no_folder(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="unknown key 'sed'; did you mean 'seed'"):
        run(sed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["steps.parquet"]


def test_overrides_are_laid_over_a_file_and_over_a_dict(
    study: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    by_dict = gpucv.run(study, out=tmp_path / "dict", overrides=["seed=7", "name=other"])
    by_file = gpucv.run(
        run().path / "study.toml", out=tmp_path / "file", overrides=["seed=7", "name=other"]
    )
    assert by_dict.manifest["seed"] == by_file.manifest["seed"] == 7
    assert by_dict.manifest["name"] == by_file.manifest["name"] == "other"
    assert study["name"] == "few-steps"


def test_what_was_seen_of_a_gpu_stands_beside_the_timeline(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen:
        """A watch that has looked twice, before and after the folds."""

        def __getattr__(self, name: str) -> Any:
            return lambda *_: {} if name == "between" else None

        def samples(self) -> list[Sample]:
            return [Sample(time.time(), 2**30, 40.0), Sample(time.time(), 2**31, 80.0)]

    monkeypatch.setattr("gpucv.folds.runner.shared_watch", Seen)
    result = run()
    samples = pd.read_csv(result.path / "gpu.csv", keep_default_na=False)
    assert list(samples) == ["worker", "at_s", "memory_mib", "utilisation"]
    assert samples["memory_mib"].tolist() == [1024.0, 2048.0]
    assert samples["utilisation"].tolist() == [40.0, 80.0]
    assert (samples["at_s"] > 0).all()  # since the first fold began
    manifest = json.loads((result.path / "manifest.json").read_text(encoding="utf-8"))
    assert "gpu.csv" in manifest["outputs"]
