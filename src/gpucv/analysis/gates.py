"""How much worse a run may be than its baseline before a comparison fails."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from gpucv.analysis.comparison import COMPARED_METRICS
from gpucv.errors import StudyError, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

__all__ = ["GATE_COLUMNS", "Gate", "judge_gates", "parse_gate"]

GATE_COLUMNS = (
    *("run", "gate", "scheme", "predictor", "transform", "n_folds"),
    *("baseline", "value", "change", "low", "high", "status", "said"),
)

_TIMES = ("fit", "predict")
_FORM = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)(%?)")


@dataclass(frozen=True, slots=True)
class Gate:
    """One threshold: ``mape:+2%``.

    Attributes
    ----------
    text : str
        As it was given.
    metric : str
        An error of `COMPARED_METRICS`, or ``fit`` or ``predict``.
    threshold : float
        How much worse is allowed, in percent of the baseline or in percentage points.
    relative : bool
        Whether it is in percent of the baseline.
    """

    text: str
    metric: str
    threshold: float
    relative: bool

    @property
    def timed(self) -> bool:
        """Whether it is about time, which only compares on equal machines."""
        return self.metric in _TIMES


def parse_gate(
    text: str, errors: Sequence[str] = COMPARED_METRICS, times: Sequence[str] = _TIMES
) -> Gate:
    """Read ``METRIC:+N%`` (percent of the baseline) or ``METRIC:+N`` (percentage points).

    Parameters
    ----------
    text : str
    errors, times : sequence of str
        What may be gated: errors in percent or in points, times in percent alone.

    Raises
    ------
    StudyError
        If it is neither, or a time is to be compared in points.
    """
    metric, colon, given = text.partition(":")
    known = (*errors, *times)
    if metric not in known:
        raise StudyError(
            f"--fail {shown(text)}: {shown(metric)} is none of {', '.join(known)}"
            f"{nearest(metric, known)}"
        )
    form = _FORM.fullmatch(given)
    if not colon or form is None:
        raise StudyError(
            f"--fail {shown(text)}: write how much worse it may be, as {metric}:+2%"
            + ("" if metric in times else f" of the baseline or {metric}:+0.5 points")
        )
    if metric in times and not form[2]:
        raise StudyError(f"--fail {shown(text)}: times compare in percent: {text}%")
    return Gate(text, metric, float(form[1]), bool(form[2]))


def judge_gates(gates: Sequence[Gate], accuracy: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """Hold every gate against every scheme and formulation, times against formulations alone.

    An error fails where it rose beyond the threshold and its interval lies above 0; where
    there is no interval the rise alone decides, as equal runs score equally to the last bit.
    It also fails where a fold that the baseline finished did not finish: a mean without its
    worst fold proves nothing. A time fails where its whole interval lies beyond the
    threshold; without an interval it is ``undecided``, as one time proves nothing.

    Returns
    -------
    pandas.DataFrame
        `GATE_COLUMNS`; `status` is ``pass``, ``fail`` or ``undecided``.
    """
    told = [row for gate in gates for row in _judged(gate, accuracy, speed)]
    return pd.DataFrame(told, columns=list(GATE_COLUMNS))


def _judged(gate: Gate, accuracy: pd.DataFrame, speed: pd.DataFrame) -> Iterable[dict[str, Any]]:
    table, column = (speed, "time") if gate.timed else (accuracy, "metric")
    for row in table[table[column] == gate.metric].to_dict("records"):
        status, said = _time(gate, row) if gate.timed else _error(gate, row)
        known: dict[str, Any] = {name: row[name] for name in GATE_COLUMNS if name in row}
        if gate.timed:
            known |= {"scheme": "", "baseline": row["baseline_s"], "value": row["value_s"]}
            known["change"] = 100.0 * (row["ratio"] - 1.0)
        yield {**known, "gate": gate.text, "status": status, "said": said}


def _error(gate: Gate, row: Mapping[Hashable, Any]) -> tuple[str, str]:
    n, lost = row["n_folds"], row["n_lost"]
    if lost:
        return "fail", f"{lost} of the {n + lost} folds that the baseline finished did not finish"
    moved = row["percent"] if gate.relative else row["change"]
    if math.isnan(moved):
        return "undecided", "a mean that is no number"
    told = f"{row['baseline']:.2f}% -> {row['value']:.2f}% ({_moved(gate, row)}, n = {n} folds"
    told += f"; {_interval(row)})"
    beyond = moved > gate.threshold
    if beyond and row["low"] <= 0:  # not true of NaN: without an interval the rise decides
        return "pass", f"{told}: beyond the threshold, but the interval holds 0"
    return ("fail" if beyond else "pass"), told


def _moved(gate: Gate, row: Mapping[Hashable, Any]) -> str:
    return f"{row['percent']:+.2f}%" if gate.relative else f"{row['change']:+.2f} points"


def _interval(row: Mapping[Hashable, Any]) -> str:
    if math.isnan(row["low"]):
        return "no interval"
    return f"95% interval {row['low']:+.2f} to {row['high']:+.2f} points, over {row['method']}"


def _time(gate: Gate, row: Mapping[Hashable, Any]) -> tuple[str, str]:
    n = row["n_folds"]
    told = (
        f"{row['baseline_s']:.3g} s -> {row['value_s']:.3g} s (x{row['ratio']:.2f}, n = {n} folds"
    )
    if math.isnan(row["low"]):
        return "undecided", f"{told}; too few to tell noise from change)"
    told += f"; 95% interval x{row['low']:.2f} to x{row['high']:.2f})"
    limit = 1 + gate.threshold / 100
    if row["low"] > limit:
        return "fail", told
    if row["ratio"] > limit:
        return "pass", f"{told}: beyond the threshold, but the interval holds it"
    return "pass", told
