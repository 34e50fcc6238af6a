"""A finished run, as frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gpucv.analysis import (
    COVERAGE_COLUMNS,
    DONOR_COLUMNS,
    EXPERIMENT_COLUMNS,
    EXPLANATION_COLUMNS,
    FEW_SHOT_COLUMNS,
    FOLD_COLUMNS,
    IMPORTANCE_COLUMNS,
    INTERVAL_COLUMNS,
    LATER_FOLD_COLUMNS,
    LEARNING_CURVE_COLUMNS,
    NEXT_ROW_COLUMNS,
    OPTIONAL_FOLD_COLUMNS,
    OUTSIDE_COLUMNS,
    STABILITY_COLUMNS,
    TIMELINE_COLUMNS,
    Leaderboard,
    StudyTables,
    Verdict,
    error_table,
    judge,
    rank_formulations,
    schemes_from_json,
    thresholds_from_json,
)
from gpucv.errors import RunError, clipped
from gpucv.report.csv import read_csv
from gpucv.report.notebook import render_cell
from gpucv.report.story import SYNTHETIC, TRIAL
from gpucv.runs import RunLayout, read_json, read_manifest
from gpucv.runs.layout import sha256_of
from gpucv.traces.audit import Audit
from gpucv.traces.memory import give_arrow_memory_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["Result", "read_predictions"]


@dataclass(frozen=True, eq=False)
class Result:
    """What a study found.

    Attributes
    ----------
    path : Path
        The run folder.
    tables : StudyTables
    verdicts : tuple of Verdict
        One per predictor and transform.
    manifest : dict
        Machine, versions, seed, data hashes, times.

    Examples
    --------
    >>> result = gpucv.run("examples/h3-generalization.toml")  # doctest: +SKIP
    >>> result.folds[["scheme", "holdout", "test_mape"]]  # doctest: +SKIP
    """

    path: Path
    tables: StudyTables
    verdicts: tuple[Verdict, ...]
    manifest: dict[str, Any]

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a finished run.

        Raises
        ------
        RunError
            If the folder is not a finished run, or its tables are damaged.
        """
        layout = RunLayout(Path(folder))
        manifest = read_manifest(layout)
        if not manifest["status"].startswith("finished"):
            msg = f"{folder} is {manifest['status']}, not finished; run: gpucv resume {folder}"
            raise RunError(msg)
        for table in (
            layout.folds_csv,
            layout.experiments_csv,
            layout.importance_csv,
            layout.stability_csv,
            layout.verdict,
        ):
            _must_be_as_written(table, manifest)
        tables = StudyTables(
            folds=read_csv(
                layout.folds_csv, FOLD_COLUMNS, OPTIONAL_FOLD_COLUMNS, LATER_FOLD_COLUMNS
            ),
            experiments=read_csv(layout.experiments_csv, EXPERIMENT_COLUMNS),
            importance=read_csv(layout.importance_csv, IMPORTANCE_COLUMNS),
            stability=read_csv(layout.stability_csv, STABILITY_COLUMNS),
            donors=_if_written(layout.donors_csv, DONOR_COLUMNS, manifest),
            few_shot=_if_written(layout.few_shot_csv, FEW_SHOT_COLUMNS, manifest),
            next_rows=_if_written(layout.next_rows_csv, NEXT_ROW_COLUMNS, manifest),
            timeline=_if_written(layout.timeline_csv, TIMELINE_COLUMNS, manifest),
            intervals=_if_written(layout.intervals_csv, INTERVAL_COLUMNS, manifest),
            coverage=_if_written(layout.coverage_csv, COVERAGE_COLUMNS, manifest),
            outside=_if_written(layout.outside_csv, OUTSIDE_COLUMNS, manifest),
            explanations=_if_written(layout.explanations_csv, EXPLANATION_COLUMNS, manifest),
            learning_curves=_if_written(
                layout.learning_curves_csv, LEARNING_CURVE_COLUMNS, manifest
            ),
        )
        limits = thresholds_from_json(read_json(layout.verdict))
        schemes = schemes_from_json(manifest.get("schemes"))
        verdicts = tuple(judge(tables.folds, limits, schemes))
        return cls(Path(folder), tables, verdicts, manifest)

    @property
    def folds(self) -> pd.DataFrame:
        """One row per fold: counts, scores in percent, seconds, device."""
        return self.tables.folds

    @property
    def experiments(self) -> pd.DataFrame:
        """One row per fold and held-out experiment."""
        return self.tables.experiments

    @property
    def importance(self) -> pd.DataFrame:
        """One row per fold and feature: share of gain, and rank."""
        return self.tables.importance

    @property
    def stability(self) -> pd.DataFrame:
        """One row per scheme and feature: average share and rank, spread of the rank."""
        return self.tables.stability

    @property
    def donors(self) -> pd.DataFrame | None:
        """One row per group never seen and donor; None without a predictor fitted per group."""
        return self.tables.donors

    @property
    def few_shot(self) -> pd.DataFrame | None:
        """One row per point of a few-shot curve; None where no scheme asks for one."""
        return self.tables.few_shot

    @property
    def next_rows(self) -> pd.DataFrame | None:
        """What to measure next of each group held out; None where no scheme asks for a curve."""
        return self.tables.next_rows

    @property
    def timeline(self) -> pd.DataFrame | None:
        """One row per fold: when and where it ran; None for runs of earlier versions."""
        return self.tables.timeline

    @property
    def outside(self) -> pd.DataFrame | None:
        """One row per fold and feature: how far held-out rows lie outside what was learnt."""
        return self.tables.outside

    @property
    def explanations(self) -> pd.DataFrame | None:
        """One row per fold and feature: SHAP values and permutation importance, held out."""
        return self.tables.explanations

    @property
    def learning_curves(self) -> pd.DataFrame | None:
        """One row per fold and round looked at; None without ``evaluate = "curve"``."""
        return self.tables.learning_curves

    @cached_property
    def errors(self) -> pd.DataFrame:
        """One row per fold and part of its held-out rows: quantiles, and scale against shape."""
        return error_table(self.predictions)

    @property
    def intervals(self) -> pd.DataFrame | None:
        """One row per fold and per average: errors with 95 % intervals; None as above."""
        return self.tables.intervals

    @property
    def coverage(self) -> pd.DataFrame | None:
        """One row per fold and level: what prediction intervals cover; None as above."""
        return self.tables.coverage

    @property
    def leaderboard(self) -> pd.DataFrame:
        """One row per scheme and formulation: its rank, its errors, and who it is tied with."""
        return self._ranked.table

    @property
    def differences(self) -> pd.DataFrame:
        """One row per scheme and formulation but its best: how far behind, with an interval."""
        return self._ranked.differences

    @cached_property
    def _ranked(self) -> Leaderboard:
        return rank_formulations(self.folds, schemes_from_json(self.manifest.get("schemes")))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per held-out step of every fold, in the target's unit."""
        path = RunLayout(self.path).predictions
        if not path.exists():
            msg = f"{path} is missing: no fold of this run finished"
            raise RunError(msg)
        _must_be_as_written(path, self.manifest)
        try:
            return read_predictions(path)
        except (OSError, ValueError) as error:
            reason = clipped(" ".join(str(error).split()))
            msg = f"cannot read {path}: {reason}; run: gpucv resume {self.path}"
            raise RunError(msg) from error

    @cached_property
    def audit(self) -> Audit | None:
        """What the audit said of the target; None where the study switched it off."""
        path = RunLayout(self.path).audit
        if not path.exists():
            return None
        _must_be_as_written(path, self.manifest)
        try:
            return Audit.from_json(read_json(path))
        except ValueError as error:
            msg = f"{path} is damaged: {error}; run: gpucv resume {self.path}"
            raise RunError(msg) from error

    @property
    def verdict(self) -> Verdict:
        """The verdict on the study's first predictor."""
        return self.verdicts[0]

    @property
    def n_failed(self) -> int:
        """How many folds failed."""
        return int((self.folds["status"] == "failed").sum())

    @property
    def ok(self) -> bool:
        """Whether no fold failed and at least one was scored."""
        return self.n_failed == 0 and bool((self.folds["status"] == "ok").any())

    def __repr__(self) -> str:
        """Say in one line what was found and where."""
        finished = int((self.folds["status"] == "ok").sum())
        name = self.manifest.get("name", "study")
        return (
            f"<Result {name!r}: {self.verdict.label}, {finished} of {len(self.folds)} folds, "
            f"in {str(self.path)!r}>"
        )

    def _repr_html_(self) -> str:
        """Show the verdict and the means of every scheme in a notebook."""
        manifest, warnings = self.manifest, []
        if manifest["synthetic"]:
            warnings.append(SYNTHETIC)
        if manifest["limit"] is not None:
            warnings.append(TRIAL.format(limit=manifest["limit"]))
        if self.n_failed:
            warnings.append(f"{self.n_failed} of {len(self.folds)} folds failed.")
        audited = (note for note in manifest["notes"] if str(note["code"]).startswith("audit_"))
        warnings += [note["message"] for note in audited if note["level"] == "warning"]
        return render_cell(str(manifest["name"]), str(self.path), self.verdicts, warnings)


def _if_written(
    path: Path, columns: Mapping[str, str], manifest: dict[str, Any]
) -> pd.DataFrame | None:
    """Read a table that only some runs have; None where this one wrote none."""
    if path.name not in manifest["outputs"]:
        return None
    _must_be_as_written(path, manifest)
    return read_csv(path, columns)


def _must_be_as_written(path: Path, manifest: dict[str, Any]) -> None:
    """Refuse a file changed since the run wrote it; its manifest holds the hash."""
    written = manifest["outputs"].get(path.name, {}).get("sha256")
    if path.exists() and written is not None and sha256_of(path) != written:
        msg = f"{path} was changed since the run wrote it; run: gpucv resume {path.parent}"
        raise RunError(msg)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read ``predictions.parquet`` column by column, so that its rows are never there twice."""
    import pandas as pd
    import pyarrow.parquet as pq

    columns = {}
    for name in pq.read_schema(path).names:
        columns[name] = pq.read_table(
            path, columns=[name], page_checksum_verification=True
        ).to_pandas()[name]
        give_arrow_memory_back()
    return pd.DataFrame(columns, copy=False)
