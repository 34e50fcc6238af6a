"""The result tables of a study: their columns, and the formulations they compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = [
    "EXPERIMENT_COLUMNS",
    "FOLD_COLUMNS",
    "IMPORTANCE_COLUMNS",
    "LATER_FOLD_COLUMNS",
    "OPTIONAL_FOLD_COLUMNS",
    "STABILITY_COLUMNS",
    "Formulation",
    "Kind",
    "StudyTables",
    "formulations",
]

Kind = Literal["text", "count", "real", "flag"]

FOLD_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "status": "text",
    "n_train": "count",
    "n_valid": "count",
    "n_test": "count",
    "valid_mape": "real",
    "test_mape": "real",
    "test_mspe": "real",
    "test_r": "real",
    "test_wape": "real",
    "test_p99_ape": "real",
    "best_iteration": "count",
    "fit_s": "real",
    "predict_s": "real",
    "device": "text",
    "test_time_error": "real",
}
"""folds.csv. MAPE, MSPE, WAPE, APE and the error of the total time in percent, times in seconds."""

LATER_FOLD_COLUMNS = ("test_time_error",)
"""Of them, those that the tables of earlier versions lack; they read as NaN."""

OPTIONAL_FOLD_COLUMNS: Mapping[str, Kind] = {"n_left_out": "count"}
"""Behind them, where a scheme keeps shapes disjoint: rows neither trained on nor held out."""

EXPERIMENT_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "experiment_id": "text",
    "model": "text",
    "workload": "text",
    "n_test": "count",
    "test_mape": "real",
    "test_mspe": "real",
    "test_r": "real",
    "test_wape": "real",
}
"""experiments.csv: the test rows of each fold, split by experiment."""

IMPORTANCE_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "feature": "text",
    "importance": "real",
    "rank": "real",
}
"""importance.csv: normalised gain and its rank within the fold, 1 = highest."""

STABILITY_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "predictor": "text",
    "transform": "text",
    "feature": "text",
    "avg_importance": "real",
    "avg_rank": "real",
    "rank_std": "real",
}
"""stability.csv: importance and rank over the folds of a scheme."""


@dataclass(frozen=True, slots=True, eq=False)
class StudyTables:
    """The tables every finding is computed from.

    Attributes
    ----------
    folds, experiments, importance, stability : pandas.DataFrame
        With the columns of `FOLD_COLUMNS` (and of `OPTIONAL_FOLD_COLUMNS`, where they
        say something), `EXPERIMENT_COLUMNS`, `IMPORTANCE_COLUMNS` and
        `STABILITY_COLUMNS`.
    donors, few_shot, next_rows : pandas.DataFrame or None
        With `DONOR_COLUMNS`, `FEW_SHOT_COLUMNS` and `NEXT_ROW_COLUMNS`; None where no fold
        had a donor, or measured rows of the group it holds out.
    timeline : pandas.DataFrame or None
        With `TIMELINE_COLUMNS`; None for results recorded elsewhere or by earlier versions.
    intervals, coverage : pandas.DataFrame or None
        With `INTERVAL_COLUMNS` and `COVERAGE_COLUMNS`; None as above.
    outside, explanations : pandas.DataFrame or None
        With `OUTSIDE_COLUMNS` and `EXPLANATION_COLUMNS`; None where no fold has features, or
        for such results.
    learning_curves : pandas.DataFrame or None
        With `LEARNING_CURVE_COLUMNS`; None where the study does not ask for errors by round.
    """

    folds: pd.DataFrame
    experiments: pd.DataFrame
    importance: pd.DataFrame
    stability: pd.DataFrame
    donors: pd.DataFrame | None = None
    few_shot: pd.DataFrame | None = None
    next_rows: pd.DataFrame | None = None
    timeline: pd.DataFrame | None = None
    intervals: pd.DataFrame | None = None
    coverage: pd.DataFrame | None = None
    outside: pd.DataFrame | None = None
    explanations: pd.DataFrame | None = None
    learning_curves: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class Formulation:
    """What a verdict is about: one predictor, on one transform of one target."""

    predictor: str
    transform: str
    target: str

    @property
    def label(self) -> str:
        """The predictor, with its transform unless that is ``raw``."""
        if self.transform in ("", "raw"):
            return self.predictor
        return f"{self.predictor} on {self.transform}"

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `frame` that belong to this formulation.

        Tables without a ``target`` column (importance, stability) are matched
        by predictor and transform alone.
        """
        mask = (frame["predictor"] == self.predictor) & (frame["transform"] == self.transform)
        if "target" in frame.columns:
            mask &= frame["target"] == self.target
        return frame[mask]


def formulations(folds: pd.DataFrame) -> list[Formulation]:
    """Return the formulations of a fold table in order of appearance."""
    keys = folds[["predictor", "transform", "target"]].drop_duplicates()
    return [Formulation(*map(str, key)) for key in keys.itertuples(index=False, name=None)]
