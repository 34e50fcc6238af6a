"""Does it hold? One verdict per formulation, by thresholds set before the run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpucv.analysis.aggregate import SchemeSummary, measured, summarise_schemes
from gpucv.analysis.follows import what_follows
from gpucv.analysis.gap import OptimismGap, optimism_gaps
from gpucv.analysis.tables import Formulation, formulations
from gpucv.errors import RunError, StudyError
from gpucv.schema import RUN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from gpucv.analysis.meaning import SchemeMeaning

__all__ = ["Label", "Thresholds", "Verdict", "judge", "thresholds_from_json", "verdicts_json"]

Label = Literal[
    "strongly supported", "supported", "partially supported", "not supported", "undecided"
]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Test MAPE, in percent, below which a claim stands. Published values by default.

    Attributes
    ----------
    mape_max : float
        Every fold below: supported.
    mape_strong : float
        Every fold below: strongly supported.
    mape_partial : float
        The average of every scheme below: partially supported.
    """

    mape_max: float = 25.0
    mape_strong: float = 20.0
    mape_partial: float = 30.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise StudyError(f"verdict.{name} must be a percentage above 0, not {value!r}")
        if self.mape_strong > self.mape_max:
            raise StudyError(
                f"verdict.mape_strong ({self.mape_strong}) is above verdict.mape_max "
                f"({self.mape_max}); a strong claim needs the lower threshold"
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one formulation, with the numbers it rests on.

    Attributes
    ----------
    formulation : Formulation
    label : Label
    reason : str
        One sentence: which numbers decided.
    schemes : tuple of SchemeSummary
        Per-scheme averages with folds finished and planned, in study order.
    worst : SchemeSummary or None
        The scheme whose worst fold is the worst of all, controls left out.
    gaps : tuple of OptimismGap
        Every scheme against every control; empty where no control was planned.
    follows : tuple of str
        What to do with it, in plain sentences.
    thresholds : Thresholds
    """

    formulation: Formulation
    label: Label
    reason: str
    schemes: tuple[SchemeSummary, ...]
    worst: SchemeSummary | None
    gaps: tuple[OptimismGap, ...]
    follows: tuple[str, ...]
    thresholds: Thresholds

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values; a number that does not exist is ``None``."""
        worst = self.worst
        return {
            **asdict(self.formulation),
            "label": self.label,
            "reason": self.reason,
            "thresholds": asdict(self.thresholds),
            "schemes": [
                {
                    "scheme": summary.scheme,
                    **summary.meaning.to_json(),
                    "n_planned": summary.n_planned,
                    "n_finished": summary.n_finished,
                    "n_test": summary.n_test,
                    "n_left_out": summary.n_left_out,
                    "average": {key: _number(value) for key, value in summary.averages.items()},
                    "interval": {
                        key: [_number(end) for end in ends]
                        for key, ends in summary.intervals.items()
                    },
                    "median_mape": _number(summary.median_mape),
                    "worst_holdout": summary.worst_holdout or None,
                    "worst_mape": _number(summary.worst_mape),
                }
                for summary in self.schemes
            ],
            "worst": worst
            and {
                "scheme": worst.scheme,
                "holdout": worst.worst_holdout,
                "test_mape": _number(worst.worst_mape),
            },
            "optimism_gaps": [gap.to_json() for gap in self.gaps],
            "follows": list(self.follows),
        }


def judge(
    folds: pd.DataFrame,
    thresholds: Thresholds | None = None,
    schemes: Mapping[str, SchemeMeaning] | None = None,
) -> list[Verdict]:
    """Judge every formulation of a study.

    A verdict speaks of the folds planned, not only of those that finished: while
    a fold is missing nothing is called supported, and only what no missing fold
    could change is called not supported.

    Parameters
    ----------
    folds : pandas.DataFrame
        The fold table (`FOLD_COLUMNS`).
    thresholds : Thresholds, optional
        The published ones by default.
    schemes : mapping of str to SchemeMeaning, optional
        What each scheme holds out (`scheme_meanings`); the convention of its name
        where it is not there.

    Returns
    -------
    list of Verdict
        One per formulation, in order of appearance.
    """
    limits = thresholds or Thresholds()
    return [
        _judge_one(each, each.rows(folds), limits, schemes or {}) for each in formulations(folds)
    ]


def verdicts_json(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Return the content of ``verdict.json``."""
    return {"schema": RUN_SCHEMA, "verdicts": [verdict.to_json() for verdict in verdicts]}


def thresholds_from_json(content: Mapping[str, object]) -> Thresholds:
    """Read the thresholds back from the content of ``verdict.json``.

    Raises
    ------
    RunError
        The content is not what `verdicts_json` makes.
    """
    try:
        verdicts: Any = content["verdicts"]
        stored = verdicts[0]["thresholds"] if verdicts else {}
        return Thresholds(**{key: float(value) for key, value in stored.items()})
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError("verdict.json: no thresholds of a verdict in it") from error


def _judge_one(
    formulation: Formulation,
    folds: pd.DataFrame,
    limits: Thresholds,
    meanings: Mapping[str, SchemeMeaning],
) -> Verdict:
    schemes = summarise_schemes(folds, meanings)
    held_out = [each for each in schemes if not each.meaning.control]
    finished = [each for each in held_out if each.n_finished]
    deciding = folds["scheme"].isin([each.scheme for each in held_out])
    mapes = measured(folds[deciding])["test_mape"]
    label = _label(held_out, [float(value) for value in mapes], limits)
    gaps = optimism_gaps(schemes)
    return Verdict(
        formulation=formulation,
        label=label,
        reason=_reason(held_out, int((mapes >= limits.mape_max).sum()), limits)
        if held_out
        else _only_controls(schemes),
        schemes=tuple(schemes),
        worst=max(finished, key=lambda each: each.worst_mape, default=None),
        gaps=gaps,
        follows=what_follows(schemes, gaps, limits.mape_max),
        thresholds=limits,
    )


def _label(schemes: Sequence[SchemeSummary], mapes: Sequence[float], limits: Thresholds) -> Label:
    if not mapes:
        return "undecided"
    a_fold_fails = max(mapes) >= limits.mape_max
    if not all(scheme.complete for scheme in schemes):
        # Missing folds can only add to the sums: at best each has a MAPE of 0.
        an_average_fails = any(
            scheme.sum_mape / scheme.n_planned >= limits.mape_partial for scheme in schemes
        )
        return "not supported" if a_fold_fails and an_average_fails else "undecided"
    if max(mapes) < limits.mape_strong:
        return "strongly supported"
    if not a_fold_fails:
        return "supported"
    if all(scheme.average_mape < limits.mape_partial for scheme in schemes):
        return "partially supported"
    return "not supported"


def _reason(schemes: Sequence[SchemeSummary], n_failing: int, limits: Thresholds) -> str:
    planned = sum(scheme.n_planned for scheme in schemes)
    finished = sum(scheme.n_finished for scheme in schemes)
    if not finished:
        return f"None of the {planned} planned folds finished with a MAPE."
    averages = ", ".join(
        f"{scheme.scheme} {scheme.average_mape:.1f}% (n = {scheme.n_finished} of "
        f"{scheme.n_planned} folds)"
        for scheme in schemes
        if scheme.n_finished
    )
    return (
        f"{n_failing} of {finished} finished folds ({planned} planned) have a test MAPE of "
        f"{limits.mape_max:g}% or more; averages: {averages}."
    )


def _only_controls(schemes: Sequence[SchemeSummary]) -> str:
    names = ", ".join(scheme.scheme for scheme in schemes)
    return f"Only controls were planned ({names}): no group was held out."


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
