"""A study's features as a parquet file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpucv.features import build_features, group_columns
from gpucv.runs import atomic_write_with
from gpucv.schema import MODEL, WORKLOAD
from gpucv.workflow.preparation import locate_steps
from gpucv.workflow.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.study import LoadedStudy
    from gpucv.traces import Note

__all__ = ["WrittenFeatures", "write_features"]


@dataclass(frozen=True, slots=True)
class WrittenFeatures:
    """What was written."""

    rows: int
    names: tuple[str, ...]
    notes: tuple[Note, ...]


def write_features(loaded: LoadedStudy, out: Path, limit: int | None = None) -> WrittenFeatures:
    """Write features (float64), target and group columns, in (experiment, step) order.

    Parameters
    ----------
    loaded : LoadedStudy
    out : Path
        A parquet file, replaced where it exists.
    limit : int, optional
        Keep only the first `limit` steps of every experiment.

    Raises
    ------
    StudyError, DataError, EnvironmentFaultError
        As a run of the study would.
    """
    import pandas as pd

    study, data = loaded.study, loaded.study.data
    rows = read_rows(locate_steps(loaded), limit)
    frame = rows.frame
    order = [name for name in (data.experiment, data.order_by) if name in frame.columns]
    if order:
        frame = frame.sort_values(order, kind="stable", ignore_index=True)
    X, names = build_features(frame, study.features, loaded.catalog, dtype=np.float64)
    kept = [
        c for c in dict.fromkeys([*order, MODEL, WORKLOAD, *group_columns(study)]) if c in frame
    ]
    table = pd.concat(
        [
            frame[[c for c in kept if c not in names]],
            pd.DataFrame(X, columns=list(names)),
            frame[[data.target]] if data.target not in (*kept, *names) else frame[[]],
        ],
        axis=1,
    )
    atomic_write_with(
        out, lambda beside: table.to_parquet(beside, index=False, write_page_checksum=True)
    )
    return WrittenFeatures(len(table), names, rows.notes)
