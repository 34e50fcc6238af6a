"""What a fitted pipeline offers, and what fitting one is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from gpucv.errors import StudyError
from gpucv.features import view_name
from gpucv.pipelines.rows import block_rows, inputs_of_rows
from gpucv.predictors import EveryRow, must_heed_directions, registration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.frames import Array
    from gpucv.machine import Device
    from gpucv.pipelines.rows import Inputs
    from gpucv.study import PredictorSpec, Training

__all__ = [
    "Fitted",
    "Report",
    "Setting",
    "ViewColumns",
    "WithContributions",
    "WithStages",
    "answer",
    "columns_of",
]


@dataclass(frozen=True, slots=True)
class ViewColumns:
    """The columns of the table one predictor reads.

    Attributes
    ----------
    positions : tuple of int
    names : tuple of str
    directions : tuple of int
        Empty, or for each column 1 where predictions must not fall as it rises, else 0.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    directions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What every fit of one fold shares.

    Attributes
    ----------
    seed, threads, device, early_stopping_rounds
    group : tuple of str
        The columns the fold's scheme holds out; inner validation holds out the same.
    experiment : str
        The column that names a recording.
    table : FeatureTable
        Its layout alone is read here (names, views, directions), never a target.
    training : Training
        How boosters are trained.
    """

    seed: int
    threads: int
    device: Device
    early_stopping_rounds: int
    group: tuple[str, ...]
    experiment: str
    table: FeatureTable
    training: Training = "in-memory"

    def rows_for(self, predictor: str, inputs: Inputs, columns: Sequence[int]) -> Any:
        """Return features as `predictor` takes them here: of the host, of the GPU, or in blocks."""
        if not registration(predictor).on_device:
            return inputs.features(columns)
        if self.training != "in-memory":
            return inputs.blocks(columns)
        return inputs.features(columns, self.device)

    def rows_to_fit(self, predictor: str, inputs: Inputs, columns: Sequence[int]) -> Any:
        """Return features as `rows_for` does, but by column, and many rows on a GPU in blocks.

        By column they are binned in half the time on a CPU (`gpucv.predictors.matrices`).

        XGBoost sketches at once as many rows as the free memory of a GPU lets it, and the bins
        follow from that (v3.2.0, ``src/common/hist_util.cu``, `SketchBatchNumElements`): those
        of many rows would depend on what else runs there. A block always has room.
        """
        binned = self.training == "in-memory" and registration(predictor).on_device
        if binned and self.device == "cpu":
            return inputs.by_column(columns)
        on_gpu = self.device == "cuda" and inputs.device_matrix is not None
        many = len(inputs) > block_rows(len(columns))
        if on_gpu and many and binned:
            return inputs.blocks(columns, "cuda")
        return self.rows_for(predictor, inputs, columns)

    def every_row(self, predictor: str, columns: Sequence[int]) -> EveryRow:
        """Return the features of the whole table as `rows_to_fit` gives those of a fit."""

        def rows() -> Any:
            every = np.arange(len(self.table))
            return self.rows_to_fit(predictor, inputs_of_rows(self.table, every), columns)

        return EveryRow((self.table.fingerprint, tuple(columns)), rows)

    def columns(self, spec: PredictorSpec) -> ViewColumns:
        """Return what `spec` reads of the table; see `columns_of`."""
        return columns_of(spec, self.table)

    def magnitudes(self, spec: PredictorSpec) -> tuple[int, ...]:
        """Return the columns `spec` reads between whose values there is a distance.

        Codes of labels are none: their order is arbitrary.
        """
        labels = self.table.labels
        columns = self.columns(spec)
        pairs = zip(columns.positions, columns.names, strict=True)
        return tuple(at for at, name in pairs if name not in labels)


def columns_of(spec: PredictorSpec, table: FeatureTable) -> ViewColumns:
    """Return what `spec` reads of a table, codes of labels only where it can tell them as such.

    Raises
    ------
    StudyError
        If `spec` is to be monotone, and cannot, or its features do not say how they go
        with tokens.
    """
    names = table.feature_names
    # One that reads nothing has no features, whether or not the table has views for others.
    positions = () if registration(spec.name).inputs == () else table.view(view_name(spec))
    if not registration(spec.name).reads_labels:
        positions = tuple(at for at in positions if names[at] not in table.labels)
    if not spec.monotone:
        return ViewColumns(positions, tuple(names[at] for at in positions))
    must_heed_directions(spec.name)
    known = {at: table.tokens.get(names[at]) for at in positions}
    kept = tuple(at for at in positions if known[at] in ("fixed", "rises"))
    if not any(known[at] == "rises" for at in kept):
        msg = (
            f"predictor {spec.title!r}: monotone needs features that rise with tokens, and "
            "none of its features says so; use features = 'transfer'"
        )
        raise StudyError(msg)
    directions = tuple(int(known[at] == "rises") for at in kept)
    return ViewColumns(kept, tuple(names[at] for at in kept), directions)


@dataclass(frozen=True, slots=True)
class Report:
    """What a fit has to say besides predictions.

    Attributes
    ----------
    device : str
        What it really ran on.
    best_iteration : int or None
    importance : dict of str to float
        Share of the total gain by feature; empty where there is no such thing.
    model : bytes or None
        The fitted booster as UBJ, where there is exactly one.
    chosen : dict
        What was chosen among candidates, how, and with which inner score; empty where
        nothing was to choose.
    seconds : dict of str to float
        How long parts of the fit took, where known; see `FoldRecord.seconds`.
    """

    device: Device
    best_iteration: int | None = None
    importance: dict[str, float] = field(default_factory=dict)
    model: bytes | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Fitted(Protocol):
    """A pipeline that has learnt: rows in, times out."""

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return one prediction per row on the host, in the target's unit."""

    def report(self) -> Report:
        """Return what the fit has to say."""


@runtime_checkable
class WithContributions(Protocol):
    """A fitted pipeline that can say what each feature adds to a prediction."""

    def contribution_work(self) -> float:
        """Return what a row's contributions cost, as `Contributing.contribution_work`."""

    def contributions(self, inputs: Inputs) -> dict[str, NDArray[np.float64]]:
        """Return by feature what it adds to each row's prediction, before the transform back."""


@runtime_checkable
class WithStages(Protocol):
    """A fitted pipeline that can say what it would answer after any of its rounds."""

    def rounds(self) -> int:
        """Return how many rounds its predictions use; 0 if it is not made in rounds."""

    def stages(self, inputs: Inputs, rounds: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        """Yield the predictions on the host after each of `rounds`, in the target's unit."""


@runtime_checkable
class _Answers(Protocol):
    """A fitted pipeline that can leave its predictions where they were made."""

    def answer(self, inputs: Inputs) -> Array:
        """Return one prediction per row, in the target's unit."""


def answer(fitted: Fitted, inputs: Inputs) -> Array:
    """Return one prediction per row where it was made: on the GPU, or on the host.

    Of predictions made on a GPU a fold needs its scores first; they cross to the host once.
    """
    return fitted.answer(inputs) if isinstance(fitted, _Answers) else fitted.predict(inputs)
