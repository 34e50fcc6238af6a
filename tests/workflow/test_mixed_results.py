"""Results of two plans, devices or versions never end up in one table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.errors import RunError
from gpucv.runs import FoldStore
from gpucv.workflow import execution

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]


def change_manifest(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def done_files(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.glob("folds/*/DONE")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["device"].update(used="cuda"), r"began on device 'cuda'.*go on with 'cpu'"),
        (lambda m: m["machine"]["versions"].update(numpy="1.0"), r"numpy 1\.0 then, .* now"),
        (lambda m: m["machine"]["versions"].pop("scikit-learn"), r"scikit-learn missing then"),
    ],
)
def test_a_run_is_not_resumed_where_results_would_differ(
    change: Callable[[dict[str, Any]], None], message: str, run: Run
) -> None:
    root = run().path
    before = done_files(root)
    change_manifest(root, change)
    with pytest.raises(RunError, match=message):
        gpucv.resume(root)
    assert done_files(root) == before


def test_a_run_planned_otherwise_is_not_resumed_and_keeps_its_folds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = run().path
    before = done_files(root)
    monkeypatch.setattr("gpucv.folds.plan.PROTOCOL", 2)
    with pytest.raises(
        RunError, match=r"plans other folds than .*plan\.csv: of 4 then and 4 now, 0 are"
    ):
        gpucv.resume(root)
    assert done_files(root) == before


def test_a_fold_written_by_another_run_is_not_taken_for_this_ones(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folds = execution.run_folds

    def intrude(*request: Any) -> Any:
        records = run_folds(*request)
        store = FoldStore(run_folder)
        store.forget(0)
        store.publish(replace(records[0], key="another plan's"), None)
        return records

    run_folder = run("first").path.parent / "run"
    monkeypatch.setattr(execution, "run_folds", intrude)
    with pytest.raises(RunError, match=r"0000 is no longer what this run put there"):
        run("run")


def test_infinite_scores_survive_a_resume(
    study: dict[str, Any], few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    tiny = few_steps.astype({"step.duration_us": float})
    tiny.loc[0, "step.duration_us"] = 1e-320
    tiny.to_parquet(tmp_path / "steps.parquet")
    fresh = gpucv.run(study, out=tmp_path / "run")
    assert np.isinf(fresh.folds["test_mape"]).any()
    resumed = gpucv.resume(tmp_path / "run")
    loaded = gpucv.Result.load(tmp_path / "run")
    for other in (resumed, loaded):
        pd.testing.assert_frame_equal(other.folds, fresh.folds)
        pd.testing.assert_frame_equal(other.experiments, fresh.experiments)
        assert str(other.verdicts) == str(fresh.verdicts)  # NaN equals itself in writing


@pytest.mark.parametrize("name", ["folds.csv", "experiments.csv", "verdict.json"])
def test_a_table_edited_since_is_refused(name: str, run: Run) -> None:
    root = run().path
    text = (root / name).read_text(encoding="utf-8")
    (root / name).write_text(text.replace("0", "1", 1), encoding="utf-8")
    with pytest.raises(RunError, match=rf"{name} was changed since the run wrote it"):
        gpucv.Result.load(root)


def test_predictions_changed_since_are_refused(run: Run) -> None:
    root = run().path
    loaded = gpucv.Result.load(root)
    data = bytearray((root / "predictions.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (root / "predictions.parquet").write_bytes(data)
    with pytest.raises(RunError, match=r"predictions\.parquet was changed since the run wrote it"):
        _ = loaded.predictions
