"""Make an artifact of what was learnt of one configuration, and check it against that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError
from gpucv.export.artifact import Artifact
from gpucv.export.boosters import open_booster, to_bytes
from gpucv.export.coefficients import fit_blackbox
from gpucv.export.configurations import aliases_of
from gpucv.export.files import sha256, to_json
from gpucv.export.formulas import evaluate, same_features
from gpucv.export.golden import Golden, golden_inputs
from gpucv.export.manifest import (
    ArtifactEntry,
    Dropped,
    FeatureEntry,
    FileEntry,
    GoldenEntry,
    HeldOut,
    ModelFiles,
)
from gpucv.export.reference import trace_baseline
from gpucv.export.trees import read_forest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gpucv.export.configurations import Configuration
    from gpucv.export.formulas import Formula, Formulas
    from gpucv.export.program import Program
    from gpucv.export.tracing import TracedArray
    from gpucv.export.training import Learnt

__all__ = ["Source", "Told", "build_artifact", "unknown_features"]

_CLOSE = 1e-9
"""Largest relative difference to the pipeline's own predictions: both sum the same trees, the
exponential and a baseline's products may differ in their last bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One configuration's rows, as formulas and as arrays.

    Attributes
    ----------
    configuration : Configuration
    formulas : Formulas
    inputs : ndarray of float64, shape (len(INPUTS), n)
    X : ndarray of float32, shape (n, n_table_features)
        The feature table's rows of this configuration.
    y : ndarray of float64, shape (n,)
    """

    configuration: Configuration
    formulas: Formulas
    inputs: NDArray[np.float64]
    X: NDArray[np.float32]
    y: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Told:
    """What the manifest says of an artifact besides what was learnt.

    Attributes
    ----------
    number : int
        Names its files.
    others : list of Configuration
        All of the set, itself among them.
    target : str
    held_out : tuple of HeldOut
    dropped : Dropped or None
    """

    number: int
    others: list[Configuration]
    target: str
    held_out: tuple[HeldOut, ...]
    dropped: Dropped | None


def unknown_features(source: Source, names: Sequence[str], positions: Sequence[int]) -> list[str]:
    """Return which features a simulator cannot compute as the rows have them.

    Parameters
    ----------
    source : Source
    names : sequence of str
    positions : sequence of int
        Where each stands in the table.
    """
    formulas = [source.formulas.of(name) for name in names]
    known = [each for each in formulas if each is not None]
    program, registers = source.formulas.trace.program([each.traced for each in known])
    X = evaluate(program, registers, [each.undefined for each in known], source.inputs)
    found = {each.name: X[:, at] for at, each in enumerate(known)}
    return [
        name
        for name, at in zip(names, positions, strict=True)
        if name not in found or not same_features(found[name], source.X[:, at])
    ]


def build_artifact(
    source: Source, learnt: Learnt, told: Told
) -> tuple[ArtifactEntry, dict[str, bytes]]:
    """Return an artifact's entry in the manifest, and its files.

    Raises
    ------
    DataError
        If a feature or the reference asks for more than a simulator knows, or the artifact
        does not predict what the pipeline does.
    StudyError
        If there is no formula of the baseline.
    """
    formulas = [source.formulas.of(name) for name in learnt.columns.names]
    known = [each for each in formulas if each is not None]
    if len(known) < len(formulas):
        msg = f"{source.configuration.id}: a feature has no formula of a batch's counts"
        raise DataError(msg)
    reference = _reference(source, learnt)
    outputs = [each.traced for each in known] + ([] if reference is None else [reference])
    program, registers = source.formulas.trace.program(outputs)
    as_json, as_ubj = to_bytes(learnt.model, learnt.rounds)
    forest = read_forest(as_json)
    name = f"{told.number:04d}"
    files = {f"models/{name}.json": as_json, f"models/{name}.ubj": as_ubj}
    in_json, in_ubj = (
        FileEntry(path=path, bytes=len(content), sha256=sha256(content))
        for path, content in files.items()
    )
    features = evaluate(program, registers[: len(known)], _undefined(known), source.inputs)
    entry = ArtifactEntry(
        **_identity(source.configuration, told),
        target=told.target,
        predictor=learnt.spec.title,
        params=dict(learnt.spec.params),
        rows=len(source.y),
        trees=len(forest.depths),
        depth=max(forest.depths, default=0),
        program=program.to_json(),
        features=tuple(
            _feature(each, program, registers[at], features[:, at], _direction(learnt, at))
            for at, each in enumerate(known)
        ),
        transform=learnt.spec.transform,  # type: ignore[arg-type]  # chosen by now
        reference=registers[len(known)] if reference is not None else None,
        floor_us=learnt.floor,
        smearing=learnt.smearing,
        base_score=forest.base_score,
        model_files=ModelFiles(json=in_json, ubj=in_ubj),
        golden=GoldenEntry(path=f"golden/{name}.json", rows=1, sha256="0" * 64),
        blackbox=fit_blackbox(source.inputs, source.y),
        held_out=told.held_out,
        dropped=told.dropped,
    )
    artifact = Artifact(entry, program, open_booster(as_json))
    _must_agree(artifact, source, learnt)
    inputs = golden_inputs(source.inputs, artifact.features, forest.thresholds)
    content = to_json(Golden(inputs, *artifact.answers(inputs)).to_json())
    place = GoldenEntry(path=entry.golden.path, rows=inputs.shape[1], sha256=sha256(content))
    return entry.model_copy(update={"golden": place}), files | {place.path: content}


def _identity(configuration: Configuration, told: Told) -> dict[str, Any]:
    """Return the keys of an entry that say which configuration it is of."""
    return {
        "id": configuration.id,
        "number": told.number,
        "aliases": aliases_of(configuration, told.others),
        "model": configuration.model,
        "gpu": configuration.gpu,
        "tp": configuration.tp,
        "engine_version": configuration.engine_version,
    }


def _reference(source: Source, learnt: Learnt) -> TracedArray | None:
    spec = learnt.spec
    if spec.transform == "ratio":
        found = trace_baseline(
            spec.baseline,
            spec.baseline_params,
            learnt.coefficients,
            learnt.least,
            source.formulas,
        )
    elif spec.transform == "utilisation":
        found = source.formulas.speed_of_light()
    else:
        return None
    if found is not None and learnt.reference is not None:
        program, (register,) = source.formulas.trace.program([found])
        (values,) = program.run(source.inputs, [register])
        if np.allclose(values, learnt.reference, rtol=_CLOSE, atol=0.0):
            return found
    what = f"baseline {spec.baseline!r}" if spec.baseline else "the speed of light"
    msg = (
        f"{source.configuration.id}: {what} of these rows takes contexts from KV-block counters, "
        "which no simulator knows; use 'raw', 'log', or baseline 'layered-roofline'"
    )
    raise DataError(msg)


def _feature(
    formula: Formula,
    program: Program,
    register: int,
    values: NDArray[np.float32],
    direction: int,
) -> FeatureEntry:
    present = values[~np.isnan(values)]
    return FeatureEntry(
        name=formula.name,
        unit=formula.unit,
        available=formula.available,  # type: ignore[arg-type]  # never trace-only: it was traced
        version=program.version(register, formula.undefined),
        register=register,
        undefined=None if np.isnan(formula.undefined) else formula.undefined,
        missing=len(present) < len(values),
        range=(float(present.min()), float(present.max())) if len(present) else None,
        monotone=direction,  # type: ignore[arg-type]
    )


def _undefined(formulas: Sequence[Formula]) -> list[float]:
    return [each.undefined for each in formulas]


def _direction(learnt: Learnt, at: int) -> int:
    return learnt.columns.directions[at] if learnt.columns.directions else 0


def _must_agree(artifact: Artifact, source: Source, learnt: Learnt) -> None:
    """Refuse to ship what does not predict as the pipeline does on the rows learnt from."""
    _, _, values = artifact.answers(source.inputs)
    if not np.allclose(values, learnt.predicted, rtol=_CLOSE, atol=0.0):
        with np.errstate(all="ignore"):
            off = float(np.nanmax(np.abs(values / learnt.predicted - 1)))
        msg = (
            f"{artifact.id}: the artifact's times differ from the predictor's by up to "
            f"{100 * off:.2g} %; nothing was written"
        )
        raise DataError(msg)
