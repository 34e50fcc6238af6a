"""What a report says, in order, before any rendering decides how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpucv.report.audit_story import AuditStory, audit_story
from gpucv.report.cells import clean, clean_sentence, count, share
from gpucv.report.donor_tables import donor_tables
from gpucv.report.failure_story import FailureStory, failure_stories
from gpucv.report.few_shot_tables import FewShotStory, few_shot_stories
from gpucv.report.leaderboard import leaderboard_tables
from gpucv.report.overview import comparison_table, failure_table, gap_table
from gpucv.report.tables import (
    Column,
    Table,
    experiment_table,
    extreme_tables,
    feature_table,
    fold_table,
)
from gpucv.report.uncertainty import SchemeUncertainty, uncertainty_stories

if TYPE_CHECKING:
    from gpucv.analysis import Verdict
    from gpucv.report.input import ReportInput

__all__ = [
    "EXPLAINED_SAID",
    "METRICS_SAID",
    "NO_IMPORTANCE",
    "NO_PREDICTIONS",
    "Chapter",
    "Story",
    "tell",
]

SYNTHETIC = (
    "SYNTHETIC DATA. The steps were generated, not measured: these numbers show what the "
    "method does, and nothing about real hardware."
)
RECORDED = (
    "RECORDED RESULTS. The tables were read from result files of an earlier study; nothing was "
    "trained here, and its predictions and machine are not known."
)
TRIAL = "TRIAL RUN. Only the first {limit} steps of every experiment were used: this is no result."
METRICS_SAID = (
    "MAPE: mean absolute percentage error of a fold's test rows. MSPE: the same with its sign, "
    "so above 0 the predictions are too high. r: Pearson correlation. Time error: error of the "
    "total of all predictions. Train rows are all rows not held out, validation included. "
    "Averages are plain means over folds."
)
EXPLAINED_SAID = (
    "Importance is the share of the gain on the rows learnt from. The SHAP share and the rise of "
    "the MAPE when a feature is shuffled (permuted) are measured on a sample of the rows held out. "
    "Features that go together share or hide importance; none of the three says what causes what."
)
NO_IMPORTANCE = "No feature importance is known for this predictor."
NO_PREDICTIONS = "Single predictions are not part of these results, so no figure shows them."

_SHOWN_ELSEWHERE = frozenset({"schema", "name", "notes", "outputs", "schemes"})
"""Keys of a manifest that its readers, or other parts of the report, already have."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """Everything said about one formulation.

    Attributes
    ----------
    heading : str
        The formulation's name, empty where the study has only one.
    verdict : Verdict
    target, reason : str
    follows : tuple of str
    folds, experiments, extremes, features : tuple of Table
        By scheme, in study order.
    few_shot : tuple of FewShotStory
        Of the schemes that measure rows of the group they hold out.
    uncertainty : tuple of SchemeUncertainty
        By scheme, in study order.
    why : tuple of FailureStory
        By scheme, in study order.
    explained : bool
        Whether importance was also measured on rows held out.
    """

    heading: str
    verdict: Verdict
    target: str
    reason: str
    follows: tuple[str, ...]
    folds: tuple[Table, ...]
    experiments: tuple[Table, ...]
    extremes: tuple[Table, ...]
    features: tuple[Table, ...]
    few_shot: tuple[FewShotStory, ...]
    uncertainty: tuple[SchemeUncertainty, ...]
    why: tuple[FailureStory, ...]
    explained: bool


@dataclass(frozen=True, slots=True)
class Story:
    """A whole report as text and tables, unescaped.

    Attributes
    ----------
    name : str
    banners : tuple of str
        What a reader must know before any number.
    question, claim, answer, reason : str
    facts : tuple of (name, value)
        Rows, experiments, folds, device.
    chapters : tuple of Chapter
        One per formulation.
    comparison, gaps, failures, data_files : Table or None
    leaderboard : tuple of Table
        One per scheme where the study compares formulations.
    donors : tuple of Table
        One per scheme in which predictors were borrowed.
    alarm : str
        What the audit found wrong with the target, in a sentence; empty where it passed.
    audit : AuditStory or None
        What the audit said of the target; None where it was switched off.
    notes : tuple of (level, message)
    provenance : tuple of (name, value)
    """

    name: str
    banners: tuple[str, ...]
    question: str
    claim: str
    answer: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    chapters: tuple[Chapter, ...]
    comparison: Table | None
    leaderboard: tuple[Table, ...]
    gaps: Table | None
    donors: tuple[Table, ...]
    failures: Table | None
    alarm: str
    audit: AuditStory | None
    notes: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    data_files: Table | None


def tell(report: ReportInput) -> Story:
    """Compose the story of a report.

    Parameters
    ----------
    report : ReportInput

    Returns
    -------
    Story
        Every text cleaned of control characters, none of it escaped.
    """
    several = len(report.verdicts) > 1
    audit = audit_story(report.audit, report.name) if report.audit else None
    first = report.verdicts[0] if report.verdicts else None
    return Story(
        name=clean(report.name),
        banners=_banners(report),
        question=_question(report),
        claim=_claim(first),
        answer=first.label.capitalize() if first else "Undecided",
        reason=clean_sentence(first.reason) if first else "The fold table is empty.",
        facts=_facts(report),
        chapters=tuple(_chapter(report, verdict, several) for verdict in report.verdicts),
        comparison=comparison_table(report.verdicts) if several else None,
        leaderboard=leaderboard_tables(report),
        gaps=gap_table(report.verdicts),
        donors=donor_tables(report.tables.donors),
        failures=failure_table(report),
        alarm=_alarm(audit),
        audit=audit,
        notes=tuple((clean(level), clean_sentence(message)) for level, message in report.notes),
        provenance=tuple(_flat(report.provenance)),
        data_files=_data_files(report.provenance),
    )


def _banners(report: ReportInput) -> tuple[str, ...]:
    limit = report.provenance.get("limit")
    chosen = [
        (report.synthetic, SYNTHETIC),
        (report.recorded, RECORDED),
        (limit is not None, TRIAL.format(limit=limit)),
    ]
    return tuple(text for applies, text in chosen if applies)


def _alarm(audit: AuditStory | None) -> str:
    """Say what is wrong with the target before any number that was learnt from it."""
    for target in audit.targets if audit else ():
        if target.verdict != "pass":
            reason = f" {target.reasons[0]}" if target.reasons else ""
            return f"The audit: {target.name} {_AUDITED[target.verdict]}.{reason}"
    return ""


_AUDITED = {
    "warn": "passes with a warning",
    "fail": "is not fit to learn from",
    "unknown": "could not be judged",
}


def _question(report: ReportInput) -> str:
    if not report.verdicts:
        return "Does one predictor hold on configurations it has never seen?"
    meanings = [scheme.meaning for scheme in report.verdicts[0].schemes]
    asked = [each for each in meanings if not each.control]
    unseen = dict.fromkeys(clean(each.a_group) for each in asked if each.unseen)
    others = dict.fromkeys(clean(each.asked) for each in asked if not each.unseen)
    if unseen or not others:
        others = {f"{' or '.join(unseen) or 'configurations'} it has never seen": None, **others}
    targets = list(dict.fromkeys(clean(v.formulation.target) for v in report.verdicts))
    return f"Does one predictor of {' and '.join(targets)} hold on {' or '.join(others)}?"


def _claim(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    limits = verdict.thresholds
    return (
        f"One predictor ({clean(verdict.formulation.label)}) holds if every held-out fold has a "
        f"test MAPE below {limits.mape_max:g}% (strongly: below {limits.mape_strong:g}%; "
        f"partially: every scheme's average below {limits.mape_partial:g}%)."
    )


def _facts(report: ReportInput) -> tuple[tuple[str, str], ...]:
    folds, experiments = report.tables.folds, report.tables.experiments
    finished = folds[folds["status"] == "ok"]
    devices = sorted({clean(device) for device in finished["device"] if device})
    rows = max((s.n_test for verdict in report.verdicts for s in verdict.schemes), default=0)
    facts = [
        ("rows predicted", count(rows)),
        ("experiments", count(experiments["experiment_id"].nunique())),
        ("folds finished", share(len(finished), len(folds))),
        ("device", ", ".join(devices) or "none"),
    ]
    return tuple(facts)


def _chapter(report: ReportInput, verdict: Verdict, several: bool) -> Chapter:
    of, tables = verdict.formulation, report.tables
    folds, experiments = of.rows(tables.folds), of.rows(tables.experiments)
    by_scheme = [
        (summary, experiments[experiments["scheme"] == summary.scheme])
        for summary in verdict.schemes
    ]
    features = [feature_table(tables, verdict, summary) for summary in verdict.schemes]
    return Chapter(
        heading=_heading(report, verdict) if several else "",
        verdict=verdict,
        target=clean(of.target),
        reason=clean_sentence(verdict.reason),
        follows=tuple(clean_sentence(sentence) for sentence in verdict.follows),
        folds=tuple(
            fold_table(folds[folds["scheme"] == summary.scheme], summary)
            for summary in verdict.schemes
        ),
        experiments=tuple(
            experiment_table(rows, summary) for summary, rows in by_scheme if len(rows)
        ),
        extremes=tuple(
            table for summary, rows in by_scheme for table in extreme_tables(rows, summary)
        ),
        features=tuple(table for table in features if table is not None),
        few_shot=few_shot_stories(tables, of, verdict.thresholds.mape_max),
        uncertainty=uncertainty_stories(report, verdict),
        why=failure_stories(report, verdict),
        explained=tables.explanations is not None and bool(len(of.rows(tables.explanations))),
    )


def _heading(report: ReportInput, verdict: Verdict) -> str:
    of = verdict.formulation
    several_targets = len({each.formulation.target for each in report.verdicts}) > 1
    return clean(f"{of.label}, target {of.target}" if several_targets else of.label)


def _flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested values to dotted names; the data files have a table of their own."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if not prefix and key in _SHOWN_ELSEWHERE:
            continue
        name = f"{prefix}{clean(key)}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}.")
        elif _is_files(value):
            continue
        elif isinstance(value, Sequence) and not isinstance(value, str):
            rows.append((name, clean(", ".join(str(each) for each in value)) or "none"))
        elif value is not None and value != "":
            rows.append((name, clean(value)))
    return rows


def _is_files(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(each, Mapping) and "sha256" in each for each in value)
    )


def _data_files(provenance: Mapping[str, object]) -> Table | None:
    """Build the table of the data files: the manifest's list of entries with a ``sha256``."""
    files = [
        entry
        for value in provenance.values()
        if _is_files(value) and isinstance(value, Sequence)
        for entry in value
    ]
    if not files:
        return None
    rows = []
    for entry in files:
        n = entry.get("rows")
        rows.append(
            (
                clean(entry.get("path", entry.get("name", ""))),
                count(n) if isinstance(n, int | float) else "",
                clean(entry["sha256"]),
            )
        )
    columns = (Column("file", False), Column("rows"), Column("SHA-256", False))
    return Table("Data files", columns, tuple(rows))
