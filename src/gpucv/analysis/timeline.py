"""When every fold ran and where, and how close the run came to keeping everyone busy.

Hosts have clocks of their own. Folds of one host are ordered by that host's clock. Between
hosts one thing is known: no fold began before it was queued. A host whose clock says so runs
behind, and all its times are moved forward by the least that mends it; a clock that runs
ahead cannot be told from a long wait, and stays.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    import pandas as pd

    from gpucv.analysis.tables import Kind
    from gpucv.runs import FoldRecord

__all__ = [
    "GPU_COLUMNS",
    "TIMELINE_COLUMNS",
    "Bar",
    "Timeline",
    "gpu_rows",
    "timeline_of",
    "timeline_rows",
]

TIMELINE_COLUMNS: Mapping[str, Kind] = {
    "fold_id": "count",
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "status": "text",
    "attempts": "count",
    "worker": "text",
    "host": "text",
    "pid": "text",
    "gpu": "text",
    "gpu_name": "text",
    "queued_s": "real",
    "load_s": "real",
    "quantise_s": "real",
    "fit_s": "real",
    "predict_s": "real",
    "began_s": "real",
    "ended_s": "real",
    "n_train": "count",
    "training": "text",
    "gpu_memory_peak_mib": "real",
    "gpu_utilisation_mean": "real",
}
"""timeline.csv: one row per fold. `queued_s` is how long it waited; `began_s` and `ended_s`
count from the first fold's begin; `quantise_s` is a part of `fit_s`. What is not known is empty."""

GPU_COLUMNS: Mapping[str, Kind] = {
    "worker": "text",
    "at_s": "real",
    "memory_mib": "real",
    "utilisation": "real",
}
"""gpu.csv: samples of each worker's GPU; `at_s` as in timeline.csv, utilisation in percent."""

_MIB = 2.0**20
_SHORTEST_PAUSE = 0.1
"""Share of the time folds ran from which an idle stretch is a pause, as of a resumed run."""


def timeline_rows(records: Sequence[FoldRecord]) -> list[dict[str, Any]]:
    """Return the rows of timeline.csv, in the order of the records.

    Records of earlier versions say nothing of times and workers: NaN and "" there.
    """
    behind, start = _behind(records), _start(records)
    return [
        {
            **{name: getattr(record, name) for name in _COPIED},
            **{name: _text(record.worker.get(key)) for name, key in _WORKER.items()},
            **{name: record.seconds.get(name, math.nan) for name in _SECONDS},
            "queued_s": _began(record, behind) - record.times.get("queued", math.nan),
            "began_s": _began(record, behind) - start,
            "ended_s": _at(record, "ended", behind) - start,
            "gpu_memory_peak_mib": record.gpu.get("memory_peak_bytes", math.nan) / _MIB,
            "gpu_utilisation_mean": record.gpu.get("utilisation_mean", math.nan),
        }
        for record in records
    ]


def gpu_rows(
    samples: Mapping[str, Sequence[tuple[float, float, float]]], records: Sequence[FoldRecord]
) -> list[dict[str, Any]]:
    """Return the rows of gpu.csv.

    Parameters
    ----------
    samples : Mapping of str to sequence of (seconds since the epoch, bytes, percent)
        What each worker, by the name its records have, saw of its GPU.
    records : sequence of FoldRecord
        They say when the run began, and whose clock runs behind.
    """
    behind, start = _behind(records), _start(records)
    hosts = {_text(record.worker.get("name")): _host(record) for record in records}
    return [
        {
            "worker": worker,
            "at_s": at + behind.get(hosts.get(worker, ""), 0.0) - start,
            "memory_mib": memory / _MIB,
            "utilisation": utilisation,
        }
        for worker, seen in samples.items()
        for at, memory, utilisation in seen
    ]


@dataclass(frozen=True, slots=True)
class Bar:
    """One fold on the timeline.

    Attributes
    ----------
    fold_id, name : int, str
        Its place in the plan; its scheme and holdout.
    lane : int
    waited, began, ended : float
        Seconds on the axis, which leaves pauses out; `waited` is when it was queued, or
        when the lane came free, if that was later.
    parts : tuple of (name, seconds)
        What is known of its time, in order: ``load``, ``quantise``, ``fit``, ``predict``.
    ok : bool
    attempts : int
    """

    fold_id: int
    name: str
    lane: int
    waited: float
    began: float
    ended: float
    parts: tuple[tuple[str, float], ...]
    ok: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run as lanes of folds, one lane for each fold a worker had under way at once.

    Attributes
    ----------
    bars : tuple of Bar
        In the order of their begin.
    lanes : tuple of str
        The worker each lane belongs to; lanes of one worker lie together.
    pauses : tuple of (at, seconds)
        Idle stretches left out of the axis, where a run was stopped and resumed.
    wall_s : float
        From the first begin to the last end, pauses left out.
    longest_first_s : float
        What the same folds would take on as many lanes, the longest first, without a wait.
    n_unknown : int
        Folds without times; they have no bar.
    """

    bars: tuple[Bar, ...]
    lanes: tuple[str, ...]
    pauses: tuple[tuple[float, float], ...]
    wall_s: float
    longest_first_s: float
    n_unknown: int

    @property
    def busy(self) -> float:
        """Share of the lanes' time, from 0 to 1, in which they had a fold."""
        room = self.wall_s * len(self.lanes)
        return sum(bar.ended - bar.began for bar in self.bars) / room if room else 1.0


def timeline_of(table: pd.DataFrame) -> Timeline | None:
    """Lay a run's folds out over time.

    Parameters
    ----------
    table : pandas.DataFrame
        With `TIMELINE_COLUMNS`.

    Returns
    -------
    Timeline or None
        None where no fold's times are known.
    """
    known = table[table["began_s"].notna() & (table["ended_s"] >= table["began_s"])]
    if known.empty:
        return None
    folds = known.sort_values(["began_s", "fold_id"], kind="stable")
    waited = folds["queued_s"].fillna(0.0).clip(lower=0.0)
    whole = list(zip(folds["began_s"] - waited, folds["ended_s"], strict=True))
    pauses = _pauses(whole)
    lanes, lane_of = _lanes(folds)
    bars, free = [], dict.fromkeys(range(len(lanes)), 0.0)
    for fold, lane, (queued, _) in zip(folds.to_dict("records"), lane_of, whole, strict=True):
        began, ended = _without(pauses, fold["began_s"]), _without(pauses, fold["ended_s"])
        since = max(_without(pauses, queued), free[lane])
        free[lane] = ended
        bars.append(
            Bar(
                fold_id=int(fold["fold_id"]),
                name=f"{fold['scheme']} {fold['holdout']}",
                lane=lane,
                waited=min(since, began),
                began=began,
                ended=ended,
                parts=_parts(fold),
                ok=fold["status"] == "ok",
                attempts=int(fold["attempts"]),
            )
        )
    return Timeline(
        bars=tuple(bars),
        lanes=lanes,
        pauses=tuple((_without(pauses, at), length) for at, length in pauses),
        wall_s=max(bar.ended for bar in bars) - bars[0].began,
        longest_first_s=_longest_first([bar.ended - bar.began for bar in bars], len(lanes)),
        n_unknown=len(table) - len(known),
    )


_COPIED = (
    *("fold_id", "scheme", "holdout", "predictor", "transform"),
    *("status", "attempts", "n_train", "training"),
)
_WORKER = {
    "worker": "name",
    "host": "host",
    "pid": "pid",
    "gpu": "gpu",
    "gpu_name": "gpu_name",
}
_SECONDS = ("load_s", "quantise_s", "fit_s", "predict_s")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _host(record: FoldRecord) -> str:
    return _text(record.worker.get("host"))


def _behind(records: Iterable[FoldRecord]) -> dict[str, float]:
    """Return by how many seconds each host's clock is behind at least."""
    behind: dict[str, float] = {}
    for record in records:
        early = record.times.get("queued", math.nan) - record.times.get("began", math.nan)
        if early > behind.get(_host(record), 0.0):
            behind[_host(record)] = early
    return behind


def _at(record: FoldRecord, moment: str, behind: Mapping[str, float]) -> float:
    return record.times.get(moment, math.nan) + behind.get(_host(record), 0.0)


def _began(record: FoldRecord, behind: Mapping[str, float]) -> float:
    return _at(record, "began", behind)


def _start(records: Sequence[FoldRecord]) -> float:
    behind = _behind(records)
    known = [began for record in records if not math.isnan(began := _began(record, behind))]
    return min(known, default=math.nan)


def _pauses(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return (begin, length) of the long stretches in which no fold ran or waited."""
    gaps, ran, end = [], 0.0, -math.inf
    for began, ended in sorted(stretches):
        if began > end > -math.inf:
            gaps.append((end, began - end))
        ran += max(0.0, ended - max(began, end))
        end = max(end, ended)
    return [(at, length) for at, length in gaps if length > _SHORTEST_PAUSE * ran]


def _without(pauses: Sequence[tuple[float, float]], at: float) -> float:
    """Return the axis' second of a moment: pauses before it do not count."""
    return at - sum(min(length, at - began) for began, length in pauses if began < at)


def _lanes(folds: pd.DataFrame) -> tuple[tuple[str, ...], list[int]]:
    """Return each lane's worker, and the lane of each fold: the first of its worker's free.

    Folds come by their begin, so no worker gets more lanes than it had folds at once.
    """
    owners = list(zip(folds["host"], folds["worker"], strict=True))
    ends: dict[tuple[str, str], list[float]] = {owner: [] for owner in sorted(set(owners))}
    places = []
    for owner, began, ended in zip(owners, folds["began_s"], folds["ended_s"], strict=True):
        mine = ends[owner]
        place = next((at for at, end in enumerate(mine) if end <= began), len(mine))
        mine[place : place + 1] = [ended]
        places.append(place)
    first: dict[tuple[str, str], int] = {}
    names: list[str] = []
    for (host, worker), mine in ends.items():
        first[host, worker] = len(names)
        names += [worker or host or "this process"] * len(mine)
    return tuple(names), [first[owner] + at for owner, at in zip(owners, places, strict=True)]


def _parts(fold: Mapping[Hashable, Any]) -> tuple[tuple[str, float], ...]:
    load, quantise, fit, predict = (
        0.0 if math.isnan(fold[name]) else float(fold[name]) for name in _SECONDS
    )
    parts = (
        ("load", load),
        ("quantise", min(quantise, fit)),
        ("fit", max(0.0, fit - quantise)),
        ("predict", predict),
    )
    return tuple((name, seconds) for name, seconds in parts if seconds > 0)


def _longest_first(seconds: Iterable[float], lanes: int) -> float:
    """Return when the last lane is done if each takes the longest fold left (Graham 1969)."""
    ends = [0.0] * lanes
    for length in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)
