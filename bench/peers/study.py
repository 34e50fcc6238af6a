"""The folds every peer runs, in a folder: the matrix, the rows of each fold, the parameters.

gpucv plans them and writes them once (`write_study`); peers only read (`read_study`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Boosting", "Fold", "Study", "read_study", "write_study"]


@dataclass(frozen=True, slots=True)
class Boosting:
    """The study's parameters, under XGBoost's names; each peer says what it makes of them."""

    n_estimators: int
    max_depth: int
    learning_rate: float
    min_child_weight: float
    subsample: float
    colsample_bytree: float
    max_bin: int

    def xgboost(self) -> dict[str, Any]:
        """Return them for ``XGBRegressor``."""
        return {"tree_method": "hist", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows of one fold, ascending.

    Attributes
    ----------
    scheme, holdout : str
    fit, valid, test : ndarray of intp
        Rows to fit to, rows that neither are fitted to nor tested, rows held out.
    """

    scheme: str
    holdout: str
    fit: NDArray[np.intp]
    valid: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Study:
    """A matrix and its folds.

    Attributes
    ----------
    X : ndarray of float32, shape (n_rows, n_features)
        C order.
    y : ndarray of float64, shape (n_rows,)
    groups : dict of str to ndarray of int32
        Codes of the model, workload and experiment of every row.
    folds : tuple of Fold
    boosting : Boosting
    seed : int
    folder : Path
        Where it was read; gpucv's own files lie there as well.
    """

    X: NDArray[np.float32]
    y: NDArray[np.float64]
    groups: dict[str, NDArray[np.int32]]
    folds: tuple[Fold, ...]
    boosting: Boosting
    seed: int
    folder: Path

    def longest_first(self) -> list[int]:
        """Return the folds' positions, the one with the most rows to fit to first."""
        return sorted(range(len(self.folds)), key=lambda i: -len(self.folds[i].fit))


def write_study(study: Study) -> None:
    """Write `study` into its folder."""
    arrays: dict[str, Any] = {"X": study.X, "y": study.y}
    arrays |= {f"group_{name}": codes for name, codes in study.groups.items()}
    for position, fold in enumerate(study.folds):
        for part in ("fit", "valid", "test"):
            arrays[f"{part}_{position}"] = getattr(fold, part)
    np.savez(study.folder / "folds.npz", **arrays)
    told = {
        "folds": [[fold.scheme, fold.holdout] for fold in study.folds],
        "groups": list(study.groups),
        "boosting": asdict(study.boosting),
        "seed": study.seed,
    }
    (study.folder / "folds.json").write_text(json.dumps(told), encoding="utf-8")


def read_study(folder: Path) -> Study:
    """Return the study in `folder`, its arrays in memory."""
    told = json.loads((folder / "folds.json").read_text(encoding="utf-8"))
    with np.load(folder / "folds.npz") as arrays:
        folds = tuple(
            Fold(scheme, holdout, *(arrays[f"{part}_{i}"] for part in ("fit", "valid", "test")))
            for i, (scheme, holdout) in enumerate(told["folds"])
        )
        return Study(
            X=arrays["X"],
            y=arrays["y"],
            groups={name: arrays[f"group_{name}"] for name in told["groups"]},
            folds=folds,
            boosting=Boosting(**told["boosting"]),
            seed=told["seed"],
            folder=folder,
        )
