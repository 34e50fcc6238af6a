"""The leaderboard of each scheme: who is best, by how much, and who is tied with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from gpucv.analysis import Formulation, rank_formulations
from gpucv.report.cells import ABSENT, clean, clean_sentence, decimal, percent, signed
from gpucv.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from gpucv.report.input import ReportInput

__all__ = ["LEADERBOARD_SAID", "leaderboard_tables"]

LEADERBOARD_SAID = (
    "Ranked by mean MAPE over the folds that all ranked predictors finished. Behind: mean "
    "difference to the best, fold by fold, in percentage points, with a 95% interval from "
    "drawing the folds again. Where that holds 0 the two are tied: these folds do not tell "
    "them apart."
)

_COLUMNS = (
    Column("predictor", numeric=False),
    Column("rank"),
    Column("mean MAPE %"),
    Column("behind"),
    Column("95% interval", spare=1),
    Column("standing", numeric=False),
    Column("folds", spare=2),
    Column("median %", spare=4),
    Column("worst fold %", spare=6),
    Column("WAPE %", spare=5),
    Column("time error %", spare=3),
    Column("fit s", spare=7),
    Column("predict s", spare=8),
)
_BY_LUCK = {3: "four", 4: "five", 5: "six"}
"""Of equal predictors, one pair in so many is told apart, by number of folds (`mean_intervals`)."""
_NAMED = 4


@dataclass(frozen=True, slots=True)
class _Standing:
    """One row of a scheme's leaderboard, and where it stands against the best.

    `word` is ``best``, ``tied``, ``worse``, ``not told apart`` or ``not compared``.
    """

    entry: Mapping[Hashable, Any]
    behind: str
    interval: str
    word: str

    @property
    def label(self) -> str:
        names = ("predictor", "transform", "target")
        return clean(Formulation(*(str(self.entry[name]) for name in names)).label)

    @property
    def finished(self) -> str:
        return f"{self.entry['n_finished']} of {self.entry['n_planned']}"

    @property
    def worst(self) -> str:
        holdout = clean(self.entry["worst_holdout"])
        return f"{percent(self.entry['worst_mape'])} ({holdout})" if holdout else ABSENT

    @property
    def cells(self) -> tuple[str, ...]:
        entry = self.entry
        return (
            self.label,
            ABSENT if pd.isna(entry["rank"]) else str(entry["rank"]),
            percent(entry["mean_mape"]),
            self.behind,
            self.interval,
            self.word,
            self.finished,
            percent(entry["median_mape"]),
            self.worst,
            percent(entry["mean_wape"]),
            percent(entry["mean_time_error"]),
            decimal(entry["mean_fit_s"], 2),
            decimal(entry["mean_predict_s"], 2),
        )


def leaderboard_tables(report: ReportInput) -> tuple[Table, ...]:
    """Build one table per scheme, in study order; none where there is nothing to compare.

    The note below each says in words who wins and who is tied.
    """
    if len(report.verdicts) < 2:
        return ()
    meanings = {each.scheme: each.meaning for v in report.verdicts for each in v.schemes}
    board = rank_formulations(report.tables.folds, meanings)
    several_targets = board.table["target"].nunique() > 1
    tables = []
    for (scheme, target), rows in board.table.groupby(["scheme", "target"], sort=False):
        of = board.differences
        pairs = of[(of["scheme"] == scheme) & (of["target"] == target)]
        standings = _standings(rows, pairs)
        title = f"{scheme}: {meanings[str(scheme)].title}"
        tables.append(
            Table(
                title=clean_sentence(f"{title}, target {target}" if several_targets else title),
                columns=_COLUMNS,
                rows=tuple(each.cells for each in standings),
                note=_said(standings),
            )
        )
    return tuple(tables)


def _standings(rows: pd.DataFrame, pairs: pd.DataFrame) -> list[_Standing]:
    """Join a scheme's rows, best first, with what sets them apart from the best."""
    by_name = {(pair["worse"], pair["worse_transform"]): pair for pair in pairs.to_dict("records")}
    standings = []
    for entry in rows.to_dict("records"):
        pair = by_name.get((entry["predictor"], entry["transform"]))
        if pair is None:
            word = "best" if entry["tied_with_best"] else "not compared"
            standings.append(_Standing(entry, ABSENT, ABSENT, word))
            continue
        behind = signed(pair["mean_difference"])
        if math.isnan(pair["low"]):
            word = "not told apart" if pair["tie"] else "worse"
            standings.append(_Standing(entry, behind, ABSENT, word))
            continue
        interval = f"{signed(pair['low'])} to {signed(pair['high'])}"
        standings.append(_Standing(entry, behind, interval, "tied" if pair["tie"] else "worse"))
    return standings


def _said(standings: Sequence[_Standing]) -> str:
    """Say in words who wins, who is tied, who was not compared, and how sure that is."""
    told = [_winner(standings)]
    unfinished = [each for each in standings if each.word == "not compared"]
    if standings[0].word == "best":
        told += [
            f"{each.label} finished {each.finished} folds and is not compared."
            for each in unfinished[:_NAMED]
        ]
        if len(unfinished) > _NAMED:
            told.append(f"{len(unfinished) - _NAMED} more are not compared either.")
    n = standings[0].entry["n_compared"]
    if n in _BY_LUCK and any(each.word in ("tied", "worse") for each in standings):
        told.append(
            f"{n} folds are few: of predictors that are equal, one pair in {_BY_LUCK[n]} would "
            "look apart."
        )
    if standings[0].entry["control"]:
        told.append("A control: it moves no verdict.")
    return " ".join(told)


def _winner(standings: Sequence[_Standing]) -> str:
    best, *others = standings
    if best.word != "best":
        some = any(each.entry["n_finished"] for each in standings)
        alone = "No fold was finished by all: none is ranked, and each has its own figures."
        return alone if some else "No fold finished."
    n = best.entry["n_compared"]
    over = f"{percent(best.entry['mean_mape'])}% on average over {n} fold{'s'[: n != 1]}"
    compared = [each for each in others if each.word != "not compared"]
    if not compared:
        return f"{best.label}: {over}, with no other to compare it with."
    if all(each.word == "not told apart" for each in compared):
        return f"{best.label} has the lowest mean MAPE ({over}); nothing here tells them apart."
    tied = [each.label for each in compared if each.word != "worse"]
    if not tied:
        return f"{best.label} wins: {over}; every other compared is worse."
    if len(tied) == len(compared):
        return f"{best.label} leads ({over}), but no other compared can be told apart from it."
    named = [*tied[:_NAMED], *([f"{len(tied) - _NAMED} more"] if len(tied) > _NAMED else [])]
    return f"{best.label} leads ({over}); tied with it: {', '.join(named)}; the others are worse."
