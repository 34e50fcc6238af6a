"""Everything that can go wrong before a fold runs, done before a fold runs."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.analysis import scheme_meanings
from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.features import FeatureTable, build_table, empty_features
from gpucv.folds import (
    FoldTask,
    Placement,
    Resources,
    TableShape,
    local_resources,
    place,
    plan_folds,
    survey,
    trained,
)
from gpucv.machine import ResolvedDevice, gpu_fault, resolve_device
from gpucv.study import LoadedStudy, fingerprint
from gpucv.workflow.rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from gpucv.study import Study
    from gpucv.traces import Note, SourceFile
    from gpucv.traces.audit import Audit

__all__ = ["PreparedStudy", "locate_steps", "prepare"]


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    """A study whose data has been read, checked and planned over.

    Attributes
    ----------
    loaded : LoadedStudy
        With ``data.steps`` as absolute paths.
    limit : int or None
        Steps kept of every experiment, where a trial run was asked for.
    resources : Resources
        What there is to run folds on, as it was before the data was read.
    placement : Placement
        How folds are laid out over it, and why.
    audit : Audit or None
        What the audit of the target found; None where it is switched off.
    """

    loaded: LoadedStudy
    device: ResolvedDevice
    resources: Resources
    placement: Placement
    table: FeatureTable
    tasks: tuple[FoldTask, ...]
    sources: tuple[SourceFile, ...]
    notes: tuple[Note, ...]
    synthetic: bool
    audit: Audit | None
    limit: int | None = None

    @property
    def study(self) -> Study:
        """The study itself."""
        return self.loaded.study

    def origin(self) -> dict[str, Any]:
        """Return what the results follow from, for the manifest."""
        return {
            "seed": self.study.seed,
            "study_fingerprint": fingerprint(self.study),
            "data_fingerprint": self.table.fingerprint,
            "rows": len(self.table),
            "features": list(self.table.feature_names),
            "features_on": self.table.features_on,
            "limit": self.limit,
            "synthetic": self.synthetic,
            "data": [asdict(source) for source in self.sources],
            "schemes": {
                name: meaning.to_json()
                for name, meaning in scheme_meanings(self.study.schemes).items()
            },
        }


def prepare(loaded: LoadedStudy, limit: int | None = None) -> PreparedStudy:
    """Read and audit the data, check its rows, compute the features, plan and place the folds.

    What there is to run on is asked first, so that a device that is not there ends a study
    before its data is read.

    Parameters
    ----------
    loaded : LoadedStudy
    limit : int, optional
        Keep only the first `limit` steps of every experiment: a trial run.

    Raises
    ------
    StudyError, DataError, EnvironmentFaultError
        Whatever is wrong with the study, the data or the machine.
    """
    study = loaded.study
    resources, device = _resolve(study)
    located = locate_steps(loaded)
    rows = read_rows(located, limit)
    table = _features(rows.frame, located, device, resources)
    empty = empty_features(table.X, table.feature_names)
    tasks = plan_folds(study, table, device.device)
    placement = place(tasks, TableShape.of(table), study.execution, resources, device)
    if table.device is not None and (
        placement.backend == "dask" or placement.training != "in-memory"
    ):
        table = replace(table, device=None)  # other processes, or pages, have the GPU
        _give_gpu_memory_back()
    return PreparedStudy(
        loaded=located,
        device=device,
        resources=resources,
        placement=placement,
        table=table,
        tasks=trained(tasks, table, placement.training),
        sources=rows.sources,
        notes=(*rows.notes, *empty),
        synthetic=rows.synthetic,
        audit=rows.audit,
        limit=limit,
    )


def _resolve(study: Study) -> tuple[Resources, ResolvedDevice]:
    """Return what there is to run folds on, and which device of it they use."""
    resources = survey(study.execution)
    if resources.scheduler:
        return resources, resolve_device(study.execution.device, resources.gpus)
    device = resolve_device(study.execution.device)
    # Where one GPU was named, this process now sees no other.
    return (local_resources() if ":" in study.execution.device else resources), device


def _features(
    frame: pd.DataFrame, loaded: LoadedStudy, device: ResolvedDevice, resources: Resources
) -> FeatureTable:
    """Compute the features, on the GPU of this process where it has one with room for them."""
    if device.device == "cuda" and not resources.scheduler:
        with contextlib.suppress(MemoryError), _told_of_the_gpu():
            return build_table(frame, loaded.study, loaded.catalog, on="cuda")
    return build_table(frame, loaded.study, loaded.catalog)


@contextlib.contextmanager
def _told_of_the_gpu() -> Iterator[None]:
    """Say in one line that the GPU, its driver or CuPy failed, where one of them did."""
    try:
        yield
    except Exception as error:
        if not (failed := gpu_fault(error)):
            raise
        msg = f"features cannot be computed on the GPU: {failed}; see gpucv doctor"
        raise EnvironmentFaultError(msg) from error


def _give_gpu_memory_back() -> None:
    from gpucv.frames import gpu

    gpu.give_back()


def _locate(pattern: str, base: Path) -> str:
    """Return `pattern` as an absolute path: beside the study file, else in the current folder."""
    if not pattern.strip():
        msg = "data.steps holds an empty name; name a file, folder or glob"
        raise StudyError(msg)
    try:
        path = Path(pattern).expanduser()
        if path.is_absolute():
            return str(path)
        for folder in (base, Path.cwd()):
            if (folder / path).exists():
                return str(_absolute(folder / path))
            if next(folder.glob(pattern), None) is not None:
                return str(folder / path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"data.steps: cannot look for {pattern[:200]!r}: {reason}"
        raise StudyError(msg) from error
    msg = (
        f"data.steps: nothing is called {pattern!r} in {base} (beside the study file) "
        f"or in {Path.cwd()}"
    )
    raise StudyError(msg)


def _absolute(path: Path) -> Path:
    """Return `path` absolute, links not followed: formats read labels off folders' names."""
    plain = Path(os.path.abspath(path))  # noqa: PTH100
    # "link/.." is not where the link stands.
    return plain if plain.exists() and plain.samefile(path) else path.resolve()


def locate_steps(loaded: LoadedStudy) -> LoadedStudy:
    """Return the study with ``data.steps`` as absolute paths.

    Raises
    ------
    StudyError
        If no steps are named, or nothing is there.
    """
    data = loaded.study.data
    if not data.steps:
        msg = "data.steps is empty: name the files, folders or globs to learn from"
        raise StudyError(msg)
    steps = tuple(_locate(pattern, loaded.base) for pattern in data.steps)
    study = loaded.study.model_copy(update={"data": data.model_copy(update={"steps": steps})})
    return LoadedStudy(study=study, base=loaded.base, catalog=loaded.catalog)
