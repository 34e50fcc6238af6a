"""Where everything in a run folder lies, and how its JSON is spelt.

Generated paths hold only numbers, never names from data.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RunLayout", "read_json", "sha256_of", "to_json"]


class RunLayout:
    """The paths of one run folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study = root / "study.toml"
        self.manifest = root / "manifest.json"
        self.plan = root / "plan.csv"
        self.lock = root / ".lock"
        self.lock_holder = root / ".lock-holder"
        self.table = root / "table.parquet"
        self.folds = root / "folds"
        self.folds_csv = root / "folds.csv"
        self.experiments_csv = root / "experiments.csv"
        self.importance_csv = root / "importance.csv"
        self.stability_csv = root / "stability.csv"
        self.leaderboard_csv = root / "leaderboard.csv"
        self.differences_csv = root / "differences.csv"
        self.donors_csv = root / "donors.csv"
        self.few_shot_csv = root / "few_shot.csv"
        self.next_rows_csv = root / "next_rows.csv"
        self.intervals_csv = root / "intervals.csv"
        self.coverage_csv = root / "coverage.csv"
        self.errors_csv = root / "errors.csv"
        self.outside_csv = root / "outside.csv"
        self.explanations_csv = root / "explanations.csv"
        self.learning_curves_csv = root / "learning_curves.csv"
        self.timeline_csv = root / "timeline.csv"
        self.gpu_csv = root / "gpu.csv"
        self.timeline_svg = root / "timeline.svg"
        self.predictions = root / "predictions.parquet"
        self.verdict = root / "verdict.json"
        self.audit = root / "audit.json"
        self.tuned = root / "tuned.toml"
        self.findings = root / "FINDINGS.md"
        self.page = root / "report.html"

    def fold(self, fold_id: int) -> Path:
        """Return the folder of one finished fold."""
        return self.folds / f"{fold_id:04d}"

    def outputs(self) -> list[Path]:
        """Return the files of a finished run that its manifest vouches for."""
        whole = [
            self.study,
            self.plan,
            self.folds_csv,
            self.experiments_csv,
            self.importance_csv,
            self.stability_csv,
            self.leaderboard_csv,
            self.differences_csv,
            self.donors_csv,
            self.few_shot_csv,
            self.next_rows_csv,
            self.intervals_csv,
            self.coverage_csv,
            self.errors_csv,
            self.outside_csv,
            self.explanations_csv,
            self.learning_curves_csv,
            self.timeline_csv,
            self.gpu_csv,
            self.timeline_svg,
            self.predictions,
            self.verdict,
            self.audit,
            self.tuned,
            self.findings,
            self.page,
        ]
        return [path for path in whole if path.exists()]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: Any) -> str:
    """Return `value` as JSON, NaN and infinities written as null."""
    return json.dumps(_finite(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises
    ------
    RunError
        If the file is missing, damaged or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot read {path}: {reason}; is this a run folder?"
        raise RunError(msg) from error
    if not isinstance(value, dict):
        msg = f"{path} holds a {type(value).__name__}, not an object; is this a run folder?"
        raise RunError(msg)
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) <= _LARGEST else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


_LARGEST = 1.7976931348623157e308
