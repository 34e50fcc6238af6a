"""The report as one JSON object, for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gpucv.analysis import mean_rank_std, rank_formulations, top_features, verdicts_json

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.report.input import ReportInput

__all__ = ["render_json"]

_NAMES = ("scheme", "predictor", "transform", "target")


def render_json(report: ReportInput) -> dict[str, object]:
    """Return the report as JSON-ready values.

    Names stand as they are in the data; a number that does not exist is ``None``,
    so ``json.dumps(..., allow_nan=False)`` always succeeds.

    Returns
    -------
    dict
        ``schema, name, synthetic, recorded, verdicts, folds, experiments,
        importance, stability, leaderboard, differences, top10_rank_std, audit, notes,
        failures``, and ``donors``, ``few_shot``, ``next_rows``, ``errors``, ``outside``,
        ``explanations`` and ``learning_curves`` where the study has them.
    """
    tables = report.tables
    meanings = {each.scheme: each.meaning for v in report.verdicts for each in v.schemes}
    board = rank_formulations(tables.folds, meanings)
    return {
        **verdicts_json(report.verdicts),
        "name": report.name,
        "synthetic": report.synthetic,
        "recorded": report.recorded,
        "folds": _records(tables.folds),
        "experiments": _records(tables.experiments),
        "importance": _records(tables.importance),
        "stability": _records(tables.stability),
        "leaderboard": _records(board.table),
        "differences": _records(board.differences),
        "top10_rank_std": _top10(report),
        "audit": report.audit.to_json() if report.audit else None,
        "notes": [{"level": level, "message": message} for level, message in report.notes],
        "failures": [
            {
                "scheme": failure.scheme,
                "holdout": failure.holdout,
                "predictor": failure.predictor,
                "transform": failure.transform,
                "target": failure.target,
                "reason": failure.reason,
            }
            for failure in report.failures
        ],
        **{
            name: _records(frame)
            for name, frame in (
                ("donors", tables.donors),
                ("few_shot", tables.few_shot),
                ("next_rows", tables.next_rows),
                ("intervals", tables.intervals),
                ("coverage", tables.coverage),
                ("errors", report.errors),
                ("outside", tables.outside),
                ("explanations", tables.explanations),
                ("learning_curves", tables.learning_curves),
            )
            if frame is not None
        },
    }


def _top10(report: ReportInput) -> list[dict[str, object]]:
    stability = report.tables.stability
    named = [name for name in stability.columns if name in _NAMES]
    entries = []
    for _, rows in stability.groupby(named, sort=False):
        of = rows.iloc[0]
        top = top_features(rows, of["scheme"], of["predictor"], transform=of["transform"])
        entries.append(
            {**{name: of[name] for name in named}, "mean_rank_std": _value(mean_rank_std(top))}
        )
    return entries


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    columns = {name: [_value(cell) for cell in frame[name].tolist()] for name in frame.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _value(cell: object) -> object:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
