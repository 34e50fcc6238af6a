"""Targets that read what gpucv wrote and somebody changed: run folders and artifact sets.

Hashes are written anew after each change, as someone who sends a hostile folder would.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tests.fuzz.target import Target

import gpucv
from gpucv.cli.report import load_report_input
from gpucv.errors import RunError
from gpucv.export import ArtifactSet
from gpucv.report import render_findings, render_page
from gpucv.runs import FoldStore, RunLayout
from gpucv.workflow.comparing import compare
from gpucv.workflow.exported_rows import open_subject
from gpucv.workflow.exporting import ExportRequest, export_set
from gpucv.workflow.listing import list_runs
from gpucv.workflow.rendering import from_others

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FOLDER_TARGETS"]

STEPS = Path(__file__).resolve().parents[2] / "data" / "study.parquet"


def finished_run(folder: Path) -> Path:
    """Make a run that has every table, two models held out; once for all targets beside it."""
    folder = folder.parent / "sound"
    if not (folder / "run").exists():
        folder.mkdir(exist_ok=True)
        whole = pd.read_parquet(STEPS)
        kept = whole["model"].isin(["codellama-34b", "llama-2-7b"])
        kept &= whole["workload"].isin(["general", "codegen"])
        whole[kept].groupby("experiment_id").head(20).to_parquet(folder / "steps.parquet")
        few_shot = {"k": [0, 4], "repeats": 2}
        tree = {"params": {"n_estimators": 2, "max_depth": 2}}
        study = {
            "name": "fuzzed",
            "data": {"steps": [str(folder / "steps.parquet")], "audit": "warn"},
            "schemes": [{"name": "lomo", "hold_out": "model", "few_shot": few_shot}],
            "predictors": [tree, {"label": "per", "per": "model", **tree}],
            "execution": {"device": "cpu", "workers": 1, "threads_per_fold": 1},
        }
        gpucv.run(study, out=folder / "run")
    return folder / "run"


def _run_file(name: str) -> Callable[[Path], Target]:
    """Return what makes a target of one file of a finished run."""

    def make(folder: Path) -> Target:
        sound = finished_run(folder)
        root = folder / "damaged"
        shutil.copytree(sound, root)
        content = (sound / name).read_bytes()
        if name == "manifest.json":
            content = _short(json.loads(content))
        return Target(name, (content,), lambda new: _tell(sound, root, name, new), cost=20)

    return make


def _short(manifest: dict[str, Any]) -> bytes:
    """Leave out what is long and read by nobody, so that changes meet what matters."""
    manifest["machine"] = {"packages": {}}
    return json.dumps(manifest).encode()


def _tell(sound: Path, root: Path, name: str, content: bytes) -> None:
    """Read a run as `ls`, `report`, `compare` and a notebook do."""
    (root / name).write_bytes(content)
    if name != "manifest.json":
        _vouch(sound, root, name, content)
    listed = list_runs(root)
    assert all(len(run.fault.splitlines()) <= 1 for run in listed)
    report = load_report_input(root)
    with from_others(root):
        if name not in ("plan.csv", "study.toml"):
            render_findings(report)
            render_page(report)
        if name in COMPARED:
            compare(sound, root, force=True, fail=["mape:+2%", "fit:+10%"])


def _vouch(sound: Path, root: Path, name: str, content: bytes) -> None:
    """Let the manifest say that the file is as the run wrote it."""
    manifest = json.loads((sound / "manifest.json").read_bytes())
    if name in manifest["outputs"]:
        told = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["outputs"][name] = told
    (root / "manifest.json").write_text(json.dumps(manifest))


def _fold_file(name: str) -> Callable[[Path], Target]:
    """Return what makes a target of one file of a fold: not trusted, or sound."""

    def make(folder: Path) -> Target:
        sound = finished_run(folder)
        root = folder / "damaged"
        shutil.copytree(sound, root)
        place = RunLayout(root).fold(0)
        done = json.loads((place / "DONE").read_bytes())

        def read(content: bytes) -> None:
            (place / name).write_bytes(content)
            if name != "DONE":
                done["sha256"][name] = hashlib.sha256(content).hexdigest()
                (place / "DONE").write_text(json.dumps(done))
            record = FoldStore(root).read(0, done["key"])
            list_runs(root)
            if record is None:
                raise RunError("not trusted: the fold runs again")
            FoldStore(root).gather_predictions([record], root / "gathered.parquet")

        return Target(name, ((place / name).read_bytes(),), read, cost=4)

    return make


def _lock_holder(folder: Path) -> Target:
    sound = finished_run(folder)
    root = folder / "damaged"
    shutil.copytree(sound, root)

    def read(content: bytes) -> None:
        (root / ".lock-holder").write_bytes(content)
        list_runs(root)

    return Target(".lock-holder", (b'{"pid": 1, "host": "here"}',), read)


def _set_file(name: str) -> Callable[[Path], Target]:
    """Return what makes a target of one file of an artifact set."""

    def make(folder: Path) -> Target:
        run = finished_run(folder)
        sound = run.with_name("set")
        if not sound.exists():
            subject = open_subject(run, unverified=False)
            request = ExportRequest(predictor="xgboost", drop_trace_only=True)
            with redirect_stdout(io.StringIO()):
                export_set(subject, sound, request, lambda line: None)
        root = folder / "changed"
        shutil.copytree(sound, root)
        manifest = json.loads((root / "manifest.json").read_bytes())
        steps = pd.read_parquet(STEPS).head(5)

        def read(content: bytes) -> None:
            (root / name).write_bytes(content)
            if name != "manifest.json":
                _vouch_for(root, manifest, name, content)
            opened = ArtifactSet.load(root, trusted=True)
            opened.model(opened.ids[0] if opened.ids else "none").predict(steps)

        return Target(name, ((root / name).read_bytes(),), read)

    return make


def _vouch_for(root: Path, manifest: dict[str, Any], name: str, content: bytes) -> None:
    entry = manifest["artifacts"][0]
    told = entry["golden"] if name.startswith("golden") else entry["model_files"]["json"]
    told |= {"sha256": hashlib.sha256(content).hexdigest()}
    if "bytes" in told:
        told["bytes"] = len(content)
    (root / "manifest.json").write_text(json.dumps(manifest))


RUN_FILES = (
    *("manifest.json", "plan.csv", "folds.csv", "experiments.csv", "importance.csv"),
    *("stability.csv", "donors.csv", "few_shot.csv", "next_rows.csv", "timeline.csv"),
    *("intervals.csv", "coverage.csv", "outside.csv", "explanations.csv", "verdict.json"),
    *("audit.json", "study.toml", "predictions.parquet"),
)

COMPARED = {"manifest.json", "study.toml", "folds.csv", "timeline.csv", "predictions.parquet"}

FOLDER_TARGETS: dict[str, Callable[[Path], Target]] = {
    **{f"run-{name}": _run_file(name) for name in RUN_FILES},
    **{f"fold-{name}": _fold_file(name) for name in ("result.json", "DONE", "predictions.parquet")},
    "run-lock-holder": _lock_holder,
    **{
        f"set-{name.split('/')[0].removesuffix('.json')}": _set_file(name)
        for name in ("manifest.json", "models/0001.json", "golden/0001.json")
    },
}
