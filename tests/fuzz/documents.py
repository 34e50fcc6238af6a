"""Targets that read what people write: studies, overrides, recorded results, addresses."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import tomli_w
from tests.fuzz.target import Target

from gpucv.cli.report import recorded_report_input
from gpucv.folds.cluster.connection import scheduler_address
from gpucv.report import print_report, render_findings, render_page
from gpucv.study import load_study, study_to_toml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["DOCUMENT_TARGETS"]

WHOLE: dict[str, Any] = {
    "schema": 1,
    "name": "whole",
    "seed": 7,
    "data": {
        "steps": ["a.parquet", "b/*.csv"],
        "format": "table",
        "where": {"op": "gemm", "n": [1, 2]},
        "sample": 10,
        "target": "time_us",
        "constants": {"gpu": "h100", "tp": 4},
    },
    "features": {"set": "physics-30", "columns": ["a", "b"]},
    "validation": {"fraction": 0.2, "order": "time", "early_stopping_rounds": 5},
    "schemes": [
        {"name": "lomo", "hold_out": "model", "few_shot": {"k": [0, 10], "repeats": 2}},
        {"name": "both", "hold_out": ["model", "gpu"], "disjoint": ["m", "n"]},
        {"name": "parts", "splitter": "GroupKFold", "hold_out": "model", "params": {"n_splits": 3}},
        {"name": "late", "hold_out": "experiment_id", "temporal": [0.6, 0.2]},
    ],
    "predictors": [
        {"sweep": {"transform": ["raw", "log"], "eta": [0.1, 0.3]}},
        {"name": "xgboost", "label": "r", "transform": "ratio", "baseline": "roofline"},
        {"label": "p", "per": ["gpu"], "donor": "nearest", "floor": 0.01, "seed": 3},
        {"label": "c", "choose": {"space": {"max_depth": [2, 9], "eta": [0.1, 1, "log"]}}},
    ],
    "verdict": {"mape_max": 25.0, "mape_strong": 20, "mape_partial": 30},
    "execution": {"device": "cuda:1", "scheduler": "tcp://127.0.0.1:8786", "tls": {"ca": ""}},
    "catalog": {
        "models": [{"name": "mine", "config": "config.json", "aliases": ["m"]}],
        "gpus": [
            {
                "name": "x1",
                "peak_bf16_flops": 1e15,
                "memory_bandwidth": 1e12,
                "bandwidth_efficiency": 0.5,
                "memory_bytes": 10**11,
            }
        ],
    },
}
WHOLE["predictors"][3]["choose"]["trials"] = 4
LLAMA = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 11008,
    "vocab_size": 32000,
}
FOLDS = b"""\
cv_type,holdout,n_train,n_test,valid_mape,test_mape,test_mspe,test_r,experiment_id,model,workload
lomo,a,100,50,5.5,20.25,-3.5,0.9,,,
lomo,b,110,40,6.5,30.25,4.5,0.8,,,
lomo_per_exp,a,,20,,18.5,-3.5,0.9,exp-1,a,chat
"""
IMPORTANCE = b"""\
cv_type,holdout,feature,importance
lomo,a,tokens,0.75
lomo,a,blocks,0.25
lomo,b,tokens,1.0
"""
OVERRIDES = (
    b"predictors.1.params.max_depth=4",
    b'data.where={op="x", n=[1, 2]}',
    b"schemes.1.hold_out=['model', 'gpu']",
    b"execution.device=cuda:1",
    b"validation.fraction=0.1",
)


def _study(folder: Path) -> Target:
    (folder / "config.json").write_text(json.dumps(LLAMA))

    def read(content: bytes) -> None:
        (folder / "study.toml").write_bytes(content)
        again = folder / "again.toml"
        loaded = load_study(folder / "study.toml")
        again.write_text(study_to_toml(loaded.study), encoding="utf-8", errors="surrogatepass")
        assert load_study(again).study == loaded.study, "not the study that was written"

    short = b'[data]\nsteps = ["x"]\n[[schemes]]\nname = "s"\nhold_out = "model" # why\n'
    return Target("study", (tomli_w.dumps(WHOLE).encode(), short), read, codes=(2,))


def _overrides(folder: Path) -> Target:
    path = folder / "study.toml"
    (folder / "config.json").write_text(json.dumps(LLAMA))
    path.write_text(tomli_w.dumps(WHOLE))

    def read(content: bytes) -> None:
        load_study(path, (os.fsdecode(content),))

    return Target("set", OVERRIDES, read, codes=(2,))


def _architecture(folder: Path) -> Target:
    path = folder / "study.toml"
    path.write_text('[[catalog.models]]\nname = "mine"\nconfig = "config.json"\n')

    def read(content: bytes) -> None:
        (folder / "config.json").write_bytes(content)
        load_study(path)

    return Target("config.json", (json.dumps(LLAMA).encode(),), read, codes=(2,))


def _recorded(folder: Path, damaged: str) -> Target:
    files = {"folds.csv": FOLDS, "importance.csv": IMPORTANCE}
    for name, content in files.items():
        (folder / name).write_bytes(content)

    def read(content: bytes) -> None:
        (folder / damaged).write_bytes(content)
        report = recorded_report_input(folder / "folds.csv", folder / "importance.csv")
        render_findings(report)
        render_page(report)
        with redirect_stdout(io.StringIO()):
            print_report(report, full=True)

    return Target(damaged, (files[damaged],), read, cost=4)


def _scheduler_file(folder: Path) -> Target:
    path = folder / "scheduler.json"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        scheduler_address(str(path))

    told = {"type": "Scheduler", "id": "S-1", "address": "tcp://127.0.0.1:8786", "workers": {}}
    return Target("scheduler file", (json.dumps(told).encode(),), read, codes=(4,))


DOCUMENT_TARGETS: dict[str, Callable[[Path], Target]] = {
    "study": _study,
    "set": _overrides,
    "config.json": _architecture,
    "recorded-folds": lambda folder: _recorded(folder, "folds.csv"),
    "recorded-importance": lambda folder: _recorded(folder, "importance.csv"),
    "scheduler-file": _scheduler_file,
}
