from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.analysis import (
    EXPERIMENT_COLUMNS,
    IMPORTANCE_COLUMNS,
    SchemeMeaning,
    StudyTables,
    error_table,
    fold_ranks,
    judge,
    stability_table,
)
from gpucv.report import FoldFailure, ReportInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODELS = ("llama-2-7b", "mixtral-8x7b-v0-1", "codellama-34b")
WORKLOADS = ("general", "codegen")
MAPES = {"llama-2-7b": 9908.0, "mixtral-8x7b-v0-1": 78.9, "codellama-34b": 18.2}
TARGET = "step.duration_us"
LOMO = {"lomo": SchemeMeaning(("model",), control=False)}
HOSTILE = (
    "<script>alert(1)</script>",
    "a|b`c*d_ _e[x](y)",
    "\x1b]0;title\x07\x1b[31mred",
    "[/nope][bold]",
    "=cmd|' /C calc'!A0",
    "\u202egnp.exe\u2066",
    '"><img src=x onerror=1>',
    "{{ 7*7 }}",
    "line\nbreak\r\ttab",
    "https://evil.example/x",
    "x" * 10_000,
    "NA",
    "007",
    " ",
    "日本語🚀",
)


def fold_row(named: dict[str, str], score: float) -> dict[str, object]:
    """A row of folds.csv; the fold failed where its MAPE is NaN."""
    return {
        **named,
        **{"status": "failed" if math.isnan(score) else "ok", "device": "cpu"},
        **{"n_train": 4000, "n_valid": 1000, "n_test": 200, "valid_mape": score / 2},
        **{"test_mape": score, "test_mspe": -score, "test_r": score / score / 2},
        **{"test_wape": score / 3, "test_p99_ape": score * 9, "best_iteration": math.nan},
        **{"fit_s": 1.0, "predict_s": 0.1, "test_time_error": score / 4},
    }


def experiment_row(named: dict[str, str], workload: str, score: float) -> dict[str, object]:
    model = named["holdout"]
    return {
        **named,
        **{"experiment_id": f"{model}-{workload}", "model": model, "workload": workload},
        **{"n_test": 100, "test_mape": score, "test_mspe": -score, "test_r": 0.5},
        "test_wape": score / 3,
    }


def prediction_rows(named: dict[str, str], workload: str, score: float) -> pd.DataFrame:
    """A hundred steps, every one of them predicted too high by `score` percent."""
    actual = np.random.default_rng(0).lognormal(7, 1, 100)
    return pd.DataFrame(
        {
            **named,
            **{"experiment_id": f"{named['holdout']}-{workload}", "step_id": np.arange(100)},
            **{"actual": actual, "predicted": actual * (1 + score / 100)},
            **{"phase": np.where(actual > 1000, "mixed", "pure decode")},
        }
    )


def make_report(
    models: tuple[str, ...] = MODELS,
    formulations: tuple[tuple[str, str], ...] = (("xgboost", "raw"),),
    failed: tuple[str, ...] = (),
    schemes: Mapping[str, SchemeMeaning] = LOMO,
    **more: object,
) -> ReportInput:
    """A small study: one fold per scheme and model, one experiment per model and workload."""
    folds, experiments, importance, predictions = [], [], [], []
    random = np.random.default_rng(0)
    for (predictor, transform), scheme, model in product(formulations, schemes, models):
        named = {"scheme": scheme, "holdout": model, "predictor": predictor}
        named |= {"transform": transform, "target": TARGET}
        score = math.nan if model in failed else MAPES.get(model, 33.3)
        folds.append(fold_row(named, score))
        if model in failed:
            continue
        experiments += [experiment_row(named, workload, score) for workload in WORKLOADS]
        predictions += [prediction_rows(named, workload, score) for workload in WORKLOADS]
        gains = random.random(12)
        importance += [
            named | {"feature": f"f_{i:02}", "importance": g} for i, g in enumerate(gains)
        ]
    gain = pd.DataFrame(importance) if importance else _EMPTY_IMPORTANCE
    explained = gain[[name for name in gain.columns if name != "importance"]]
    tables = StudyTables(
        pd.DataFrame(folds),
        pd.DataFrame(experiments, columns=list(EXPERIMENT_COLUMNS)),
        gain.assign(rank=fold_ranks(gain)),
        stability_table(gain),
        outside=explained.assign(**OUTSIDE),
        explanations=explained.assign(
            **{"shap": 1 - gain["importance"], "permutation": 1.5, "n_shap": 9},
            n_permutation=99,
        ),
    )
    reasons = [
        FoldFailure(scheme, m, "xgboost", "raw", TARGET, f"out of memory on {m}")
        for scheme, m in product(schemes, failed)
    ]
    rows = pd.concat(predictions, ignore_index=True) if predictions else None
    if "predictions" in more:
        rows = more["predictions"]  # type: ignore[assignment]
    defaults: dict[str, object] = {
        "name": "h3",
        "predictions": rows,
        "errors": None if rows is None else error_table(rows),
        "provenance": PROVENANCE,
        "failures": tuple(reasons),
    }
    verdicts = tuple(judge(tables.folds, schemes=schemes))
    return ReportInput(tables=tables, verdicts=verdicts, **(defaults | more))  # type: ignore[arg-type]


OUTSIDE = {
    **{"train_low": 0.0, "train_high": 1.0, "test_low": 0.5, "test_high": 3.0},
    **{"share": 0.25, "farthest": 2.0},
}
PROVENANCE = {
    "seed": 42,
    "machine": {"cpu": "EPYC", "cores": 4},
    "data": [{"path": "data/study.parquet", "rows": 122752, "sha256": "ab" * 32}],
}
_EMPTY_IMPORTANCE = pd.DataFrame(
    {
        name: pd.Series(dtype="float64" if name == "importance" else str)
        for name in IMPORTANCE_COLUMNS
        if name != "rank"
    }
)


@pytest.fixture
def report_of() -> Callable[..., ReportInput]:
    return make_report


@pytest.fixture
def report() -> ReportInput:
    return make_report()


@pytest.fixture
def hostile_names() -> tuple[str, ...]:
    """Names that break a renderer which trusts them."""
    return HOSTILE


@pytest.fixture
def hostile_report() -> ReportInput:
    """A study in which every name is hostile, one fold of it failed."""
    report = make_report(models=HOSTILE, failed=HOSTILE[:1])
    payload = HOSTILE[6]
    frames = {
        name: getattr(report.tables, name).assign(predictor=payload, transform=HOSTILE[0])
        for name in (
            *("folds", "experiments", "importance", "stability"),
            *("outside", "explanations"),
        )
    }
    for name in ("importance", "stability", "outside", "explanations"):
        frames[name]["feature"] += HOSTILE[0]
    frames["experiments"]["workload"] += HOSTILE[1]
    assert report.predictions is not None
    predictions = report.predictions.assign(predictor=payload, transform=HOSTILE[0])
    return ReportInput(
        name=HOSTILE[0],
        tables=StudyTables(**frames),
        verdicts=tuple(judge(frames["folds"])),
        predictions=predictions,
        errors=error_table(predictions),
        provenance={HOSTILE[2]: HOSTILE[0], "data": [{"path": HOSTILE[6], "sha256": HOSTILE[0]}]},
        notes=(("warning", HOSTILE[0] + HOSTILE[2] + HOSTILE[1]),),
        failures=(
            FoldFailure("lomo", HOSTILE[0], payload, HOSTILE[0], TARGET, "\x1b[2J<b>boom</b>"),
        ),
    )
