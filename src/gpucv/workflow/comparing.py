"""Finished runs side by side: refused where they answer different questions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gpucv.analysis import timeline_of
from gpucv.analysis.comparison import ComparedRun, Comparison, compare_runs
from gpucv.analysis.gates import judge_gates, parse_gate
from gpucv.errors import RunError, StudyError
from gpucv.runs import RunLayout
from gpucv.workflow.differing import DIFFERENCE_COLUMNS, differences
from gpucv.workflow.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["compare"]


def compare(
    baseline: Result | Path | str,
    *others: Result | Path | str,
    fail: Sequence[str] = (),
    force: bool = False,
) -> Comparison:
    """Set finished runs against a baseline, fold by fold.

    Parameters
    ----------
    baseline, *others : Result or path
        Finished runs; at least one other.
    fail : sequence of str
        Gates: ``"mape:+2%"`` of the baseline's mean, ``"mape:+0.5"`` percentage points,
        ``"fit:+10%"``. They raise nothing: see `Comparison.ok` and `Comparison.gates`.
    force : bool
        Compare runs on other data, targets or devices, and times on other machines, all
        the same.

    Raises
    ------
    StudyError
        Too few runs, or a gate that cannot be read.
    RunError
        A folder is not a finished run, the runs have no fold in common, or they differ in
        what `force` allows.

    Examples
    --------
    >>> found = gpucv.compare("runs/main", "runs/branch", fail=["mape:+2%"])  # doctest: +SKIP
    >>> found.accuracy[["scheme", "metric", "percent", "standing"]]  # doctest: +SKIP
    """
    gates = [parse_gate(text) for text in fail]
    if not others:
        msg = "comparing takes two runs or more: the baseline, then what is set against it"
        raise StudyError(msg)
    results = [_loaded(run) for run in (baseline, *others)]
    names = _names(results)
    if len(set(names)) < len(names):
        msg = f"{names[0]}: a run is named twice; name each run once"
        raise StudyError(msg)
    base, *rest = (_compared(name, result) for name, result in zip(names, results, strict=True))
    differing = [
        {"run": name, **row}
        for name, result in zip(names[1:], results[1:], strict=True)
        for row in differences(results[0], result, timed=any(gate.timed for gate in gates))
    ]
    if not force:
        _refuse(names[0], differing)
    found = compare_runs(base, rest)
    for name in names[1:]:
        _must_share_folds(found, name)
    return replace(
        found,
        differences=pd.DataFrame(differing, columns=list(DIFFERENCE_COLUMNS)),
        gates=judge_gates(gates, found.accuracy, found.speed),
    )


def _loaded(run: Result | Path | str) -> Result:
    if isinstance(run, Result):
        return run
    if not Path(run).is_dir():
        raise StudyError(f"{run}: no such run folder")
    return Result.load(run)


def _names(results: Sequence[Result]) -> list[str]:
    """Call each run by its folder, or by its path where folders are called alike."""
    short = [result.path.resolve().name for result in results]
    if len(set(short)) == len(short):
        return short
    return [str(result.path) for result in results]


def _compared(name: str, result: Result) -> ComparedRun:
    lanes = timeline_of(result.timeline) if result.timeline is not None else None
    finished = RunLayout(result.path).predictions.exists()
    return ComparedRun(
        name=name,
        folds=result.folds,
        predictions=result.predictions if finished else None,
        wall_s=lanes.wall_s if lanes else math.nan,
    )


def _refuse(baseline: str, differing: Iterable[Mapping[str, Any]]) -> None:
    refused = [row for row in differing if row["refused"]]
    if refused:
        listed = "; ".join(
            f"{row['run']}: {row['what']} is {row['value']}, not {row['baseline']}"
            for row in refused
        )
        msg = (
            f"not comparable with {baseline}: {listed}; --force (in Python force=True) compares "
            "all the same"
        )
        raise RunError(msg)


def _must_share_folds(found: Comparison, run: str) -> None:
    accuracy = found.accuracy
    if accuracy.empty or not (accuracy["run"] == run).any():
        msg = (
            f"{found.baseline} and {run} have no finished fold in common; folds are matched by "
            "scheme, holdout, predictor and transform"
        )
        raise RunError(msg)
