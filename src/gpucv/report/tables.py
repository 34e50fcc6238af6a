"""The tables of a report, as plain text cells that every rendering escapes its own way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpucv.analysis import SchemeSummary, mean_rank_std, measure_ranks, top_features
from gpucv.report.cells import clean, count, decimal, percent, share, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from gpucv.analysis import StudyTables, Verdict

__all__ = [
    "Column",
    "RankSpread",
    "Table",
    "experiment_table",
    "extreme_tables",
    "feature_table",
    "fold_table",
    "scheme_title",
    "write_interval",
]

N_FEATURES = 10
N_EXTREMES = 5


@dataclass(frozen=True, slots=True)
class Column:
    """A column's header, whether it holds numbers, and how early it may be left out.

    Where the page is too narrow, columns with the highest `spare` go first;
    0 is never left out.
    """

    title: str
    numeric: bool = True
    spare: int = 0


@dataclass(frozen=True, slots=True)
class RankSpread:
    """A feature's rank in every fold, their mean and their sample standard deviation."""

    ranks: tuple[float, ...]
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Table:
    """One table, ready to be rendered.

    Attributes
    ----------
    title : str
    columns : tuple of Column
    rows : tuple of tuple of str
        Unescaped, cleaned text.
    n_summary : int
        How many rows at the end are averages rather than entries.
    mapes : tuple of float
        Test MAPE of each row in percent where the table is about MAPE, else empty.
    ranks : tuple of RankSpread
        Of the feature in each row, where the table is about features, else empty.
    note : str
        A sentence below the table.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    n_summary: int = 0
    mapes: tuple[float, ...] = ()
    ranks: tuple[RankSpread, ...] = ()
    note: str = ""


_N_TEST: tuple[str, Column, Callable[[float], str]] = ("n_test", Column("n test", spare=1), count)
_METRICS: tuple[tuple[str, Column, Callable[[float], str]], ...] = (
    ("test_mape", Column("MAPE %"), percent),
    ("test_mspe", Column("MSPE %", spare=2), signed),
    ("test_r", Column("r", spare=3), decimal),
    ("test_wape", Column("WAPE %", spare=4), percent),
    ("test_time_error", Column("time error %", spare=8), percent),
    ("test_p99_ape", Column("P99 APE %", spare=9), percent),
)


def write_interval(low: float, high: float, write: Callable[[float], str]) -> str:
    """Write an interval: ``[16.9, 19.6]``."""
    return f"[{write(low)}, {write(high)}]"


_MEASURED_ON_HELD_OUT = (
    ("shap", Column("SHAP share", spare=2)),
    ("permutation", Column("permuted, points", spare=3)),
)


def scheme_title(summary: SchemeSummary) -> str:
    """Return a scheme's name with what it leaves out: ``lomo: leave one model out``."""
    return f"{clean(summary.scheme)}: {clean(summary.meaning.title)}"


def fold_table(folds: pd.DataFrame, summary: SchemeSummary) -> Table:
    """Build the fold table of one scheme of one formulation, its average in the last row."""
    more = [
        ("valid_mape", Column("valid MAPE %", spare=5), percent),
        ("n_train", Column("n train", spare=6), count),
    ]
    if summary.meaning.disjoint:
        more.append(("n_left_out", Column("n left out", spare=7), count))
    written = _present(folds, [_N_TEST, *_METRICS, *more])
    rows = []
    for fold in folds.to_dict("records"):
        ok = fold["status"] == "ok"
        cells = [write(fold[name]) for name, _, write in written]
        if not ok:
            at = [name for name, _, _ in written].index("test_mape")
            cells[at] = clean(fold["status"])
        rows.append((clean(fold["holdout"]), *cells))
    average = tuple(
        write(summary.averages[name]) if name in summary.averages else ""
        for name, _, write in written
    )
    rows.append((f"average, {share(summary.n_finished, summary.n_planned)}", *average))
    columns = (Column("held out", numeric=False), *(column for _, column, _ in written))
    finished = folds["test_mape"].where(folds["status"] == "ok").astype(float)
    return Table(
        title=scheme_title(summary),
        columns=columns,
        rows=tuple(rows),
        n_summary=1,
        mapes=(*finished, summary.average_mape),
        note=_spread(summary),
    )


def _spread(summary: SchemeSummary) -> str:
    told = _left_out(summary)
    if summary.n_finished:
        told.insert(
            0,
            f"Median fold {percent(summary.median_mape)}%, worst {percent(summary.worst_mape)}% "
            f"({clean(summary.worst_holdout)}); {count(summary.n_test)} test rows in "
            f"{summary.n_finished} finished folds.",
        )
        told.insert(1, _of_the_average(summary))
    return " ".join(told)


def _of_the_average(summary: SchemeSummary) -> str:
    """Give the averages their intervals, a line below: beside them there is no room."""
    found = [
        f"{title} {write_interval(*summary.intervals[name], write)}"
        for name, title, write in (
            ("test_mape", "MAPE", percent),
            ("test_mspe", "MSPE", signed),
            ("test_r", "r", decimal),
            ("test_wape", "WAPE", percent),
        )
        if math.isfinite(sum(summary.intervals.get(name, (math.nan,))))
    ]
    if not found:
        return "The averages have no interval: that takes 3 finished folds with finite errors."
    return f"95% intervals of the averages, folds drawn again: {', '.join(found)}."


def _left_out(summary: SchemeSummary) -> list[str]:
    """Say how many training rows were left out, where shapes are kept disjoint."""
    meaning = summary.meaning
    if not meaning.disjoint:
        return []
    n, shape = summary.n_left_out, clean(meaning.shape)
    if not n:
        return [f"No training row has the shape ({shape}) of a test row."]
    rows = "1 training row" if n == 1 else f"{count(n)} training rows"
    were = "was" if n == 1 else "were"
    return [
        f"{rows} of the same shape ({shape}) as a test row {were} left out, counted fold by fold."
    ]


def experiment_table(experiments: pd.DataFrame, summary: SchemeSummary, title: str = "") -> Table:
    """Build the per-experiment table of one scheme, in the order of the rows given.

    By default its title counts them.
    """
    texts = [
        ("experiment_id", Column("experiment", numeric=False)),
        ("model", Column("model", numeric=False, spare=7)),
        ("workload", Column("workload", numeric=False, spare=6)),
    ]
    held_out = set(summary.meaning.held_out)
    if summary.meaning.several or not held_out or held_out - {"model", "workload"}:
        texts.insert(0, ("holdout", Column("held out", numeric=False, spare=5)))
    texts = [(name, column) for name, column in texts if (experiments[name] != "").any()]
    written = _present(experiments, [_N_TEST, *_METRICS])
    rows = tuple(
        (
            *(clean(row[name]) for name, _ in texts),
            *(write(row[name]) for name, _, write in written),
        )
        for row in experiments.to_dict("records")
    )
    return Table(
        title=title or f"{scheme_title(summary)}, n = {_counted(experiments)}",
        columns=(*(column for _, column in texts), *(column for _, column, _ in written)),
        rows=rows,
        mapes=tuple(experiments["test_mape"].astype(float)),
    )


def extreme_tables(experiments: pd.DataFrame, summary: SchemeSummary) -> list[Table]:
    """Build the tables of the best and the worst experiments of one scheme.

    Five each, or half of them each where there are fewer than ten; none where
    there are fewer than four.
    """
    ordered = experiments[experiments["test_mape"].notna()].sort_values(
        ["test_mape", "experiment_id"], kind="stable"
    )
    n = min(N_EXTREMES, len(ordered) // 2)
    if n < 2:
        return []
    name, of = clean(summary.scheme), f"of {_counted(ordered)}"
    return [
        experiment_table(ordered.head(n), summary, f"{name}: best {n} {of}"),
        experiment_table(ordered.tail(n)[::-1], summary, f"{name}: worst {n} {of}"),
    ]


def _counted(experiments: pd.DataFrame) -> str:
    """Say how many experiments the rows are: several folds may test rows of the same one."""
    rows, distinct = len(experiments), experiments["experiment_id"].nunique()
    if rows == distinct:
        return f"{rows} experiments"
    return f"{rows} rows, one per fold and each of {distinct} experiments"


def feature_table(tables: StudyTables, verdict: Verdict, summary: SchemeSummary) -> Table | None:
    """Build the table of the steadiest-ranked features, None where no importance is known."""
    of, scheme = verdict.formulation, summary.scheme
    stability = of.rows(tables.stability)
    top = top_features(stability, scheme, of.predictor, N_FEATURES, transform=of.transform)
    if top.empty:
        return None
    importance = of.rows(tables.importance)
    importance = importance[importance["scheme"] == scheme]
    n_folds = importance["holdout"].nunique()
    spreads = tuple(
        RankSpread(
            tuple(importance.loc[importance["feature"] == row["feature"], "rank"].astype(float)),
            float(row["avg_rank"]),
            float(row["rank_std"]),
        )
        for _, row in top.iterrows()
    )
    known = tables.explanations
    explained = None if known is None else of.rows(known)[of.rows(known)["scheme"] == scheme]
    means = measure_ranks(importance, explained)
    others = [
        (name, column)
        for name, column in _MEASURED_ON_HELD_OUT
        if explained is not None and means[name].notna().any()
    ]
    rows = [
        (
            clean(row["feature"]),
            decimal(row["avg_importance"], 4),
            decimal(row["avg_rank"], 2),
            decimal(row["rank_std"], 1),
            *(_measured(means[name].get(row["feature"], math.nan), name) for name, _ in others),
        )
        for _, row in top.iterrows()
    ]
    average = (f"top-{len(top)} average", "", "", decimal(mean_rank_std(top), 1))
    rows.append((*average, *("" for _ in others)))
    return Table(
        title=f"{scheme_title(summary)}, n = {n_folds} folds",
        columns=(
            Column("feature", numeric=False),
            Column("average importance", spare=1),
            Column("average rank"),
            Column("rank StdDev"),
            *(column for _, column in others),
        ),
        rows=tuple(rows),
        n_summary=1,
        ranks=spreads,
    )


def _measured(value: float, name: str) -> str:
    return decimal(value, 4) if name == "shap" else signed(value)


def _present(
    frame: pd.DataFrame, columns: Sequence[tuple[str, Column, Callable[[float], str]]]
) -> list[tuple[str, Column, Callable[[float], str]]]:
    """Keep the columns that hold a number somewhere; MAPE always stays."""
    return [
        each
        for each in columns
        if each[0] == "test_mape" or (each[0] in frame.columns and frame[each[0]].notna().any())
    ]
