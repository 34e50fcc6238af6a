"""What a fold leaves behind: its record, and the arrays that go with it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self

from gpucv.errors import RunError, clipped, shown
from gpucv.schema import RUN_SCHEMA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FoldArrays", "FoldRecord", "FoldStatus"]

FoldStatus = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class FoldRecord:
    """One fold's outcome, as kept in ``result.json``.

    Attributes
    ----------
    fold_id, key : int, str
        Place in the plan, and a hash of everything that decides the result.
    n_left_out : int or None
        Rows neither trained on nor held out, because they share a shape with a row held
        out; None where the scheme does not ask.
    scores : dict of str to float
        ``valid_mape``, ``test_mape``, ``test_mspe``, ``test_r``, ``test_wape``,
        ``test_p99_ape``, ``test_time_error``; empty unless status is "ok".
    experiments : list of dict
        The same scores on each held-out experiment, with its row count.
    importance : dict of str to float
        Share of the total gain by feature; empty for predictors without it.
    seconds : dict of str to float
        ``fit_s`` and ``predict_s``; and, where known, ``load_s`` (until the rows were
        there), ``quantise_s`` (binning, a part of ``fit_s``) and ``curve_s`` (errors by
        round).
    seed, params : int, dict
        What the predictor was made with, every default written out.
    chosen : dict
        What was chosen inside the fold (transform, parameters, donors), by what, and how
        every candidate scored; empty where nothing was to choose.
    donors : list of dict
        Of a predictor fitted per group, for every group never seen and every donor: what
        the donor's fit scored on the group's rows, and whether it was the one chosen
        beforehand (``group``, ``donor``, ``by_rule``, ``n_test``, ``test_mape``).
    curve : list of dict
        Error by number of rows measured of the group held out (``k``, ``start``, ``draw``,
        ``repeat``, ``n_test``, ``test_mape``, ``test_wape``, and the ``reason`` where there
        is no score); empty where not asked for.
    next_rows : list of dict
        Rows of the group held out in the order they are best measured
        (``experiment_id``, ``step_id``, ``features``).
    outside : list of dict
        How far the rows held out lie outside the range of the rows learnt from, by feature:
        see `gpucv.pipelines.held_out.Outside`; empty in runs of earlier versions, as is the
        next.
    explanations : list of dict
        What each feature does for predictions of rows held out: see
        `gpucv.pipelines.explain`.
    learning_curve : dict of str to list of float
        Errors by round: see `gpucv.pipelines.learning_curve`; empty where not asked for.
    training : str
        "in-memory", "external-memory" or "distributed".
    attempts : int
        How often the fold was begun; above 1 where a worker was lost under it.
    worker : dict
        Who ran it (``name``, ``host``, ``pid``, ``gpu`` and ``gpu_name``, both None on a CPU);
        of one that several trained together the first of them, and ``parts``: how many.
    times : dict of str to float
        Seconds since the epoch by the worker's clock: ``began``, ``ended``; and ``queued``
        by the clock of whoever planned it.
    gpu : dict of str to float
        While it ran, on its GPU: ``memory_peak_bytes`` and ``utilisation_mean`` (percent),
        of everything there, folds beside it included; empty on a CPU.
    error : str
        Why a fold failed or was skipped: one line; the traceback follows in `traceback`.
    """

    fold_id: int
    key: str
    scheme: str
    holdout: str
    predictor: str
    transform: str
    target: str
    status: FoldStatus
    n_train: int
    n_valid: int
    n_test: int
    device: str
    n_left_out: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    best_iteration: int | None = None
    experiments: list[dict[str, Any]] = field(default_factory=list)
    importance: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    donors: list[dict[str, Any]] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    next_rows: list[dict[str, Any]] = field(default_factory=list)
    outside: list[dict[str, Any]] = field(default_factory=list)
    explanations: list[dict[str, Any]] = field(default_factory=list)
    learning_curve: dict[str, list[float]] = field(default_factory=dict)
    training: str = "in-memory"
    attempts: int = 1
    worker: dict[str, Any] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    gpu: dict[str, float] = field(default_factory=dict)
    error: str = ""
    traceback: str = ""

    def to_json_object(self) -> dict[str, Any]:
        """Return the record with its schema version; JSON has no infinity, so it is spelt out."""
        return {"schema": RUN_SCHEMA, **_spelt(asdict(self))}

    @classmethod
    def from_json_object(cls, value: dict[str, Any]) -> Self:
        """Return the record `value` holds.

        Raises
        ------
        RunError
            If it is of another schema version or lacks a field.
        """
        if value.get("schema") != RUN_SCHEMA:
            msg = f"fold record of schema {value.get('schema')!r}; this version reads {RUN_SCHEMA}"
            raise RunError(msg)
        try:
            given = {name: item for name, item in value.items() if name != "schema"}
            for name in ("scores", "importance", "seconds"):
                given[name] = _numbers(given[name])
            for name in ("times", "gpu"):
                given[name] = _numbers(given.get(name, {}))
            given["experiments"] = [
                row | _numbers({name: row[name] for name in _SCORES})
                for row in given["experiments"]
            ]
            for name in ("donors", "curve"):
                given[name] = [
                    row | _numbers({key: row[key] for key in row if key.startswith("test_")})
                    for row in given.get(name, [])
                ]
            for name in ("outside", "explanations"):
                given[name] = [
                    _numbers({key: row[key] for key in row if key != "feature"})
                    | {"feature": row["feature"]}
                    for row in given.get(name, [])
                ]
            given["learning_curve"] = {
                name: [math.nan if item is None else float(item) for item in values]
                for name, values in given.get("learning_curve", {}).items()
            }
            record = cls(**given)
            _must_be_typed(record)
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            msg = f"damaged fold record: {clipped(str(error))}"
            raise RunError(msg) from error
        return record


@dataclass(frozen=True, slots=True)
class FoldArrays:
    """One prediction per held-out row, and the fitted model.

    Attributes
    ----------
    experiment : tuple (codes, names)
        Experiment of each row, int32 codes into names.
    step_id : ndarray of int64, shape (n_test,)
    phase : ndarray of int8, shape (n_test,), or None
        Places in `gpucv.schema.PHASES`, -1 for none of them; None where not known.
    outside : ndarray of float32, shape (n_test,), or None
        Share of the features in which the row lies outside the range of the rows learnt
        from, 0 to 1; None for a predictor without features.
    actual, predicted : ndarray of float64, shape (n_test,)
        In the target's unit.
    model : bytes or None
        UBJ.
    """

    experiment: tuple[NDArray[np.int32], tuple[str, ...]]
    step_id: NDArray[np.int64]
    actual: NDArray[np.float64]
    predicted: NDArray[np.float64]
    model: bytes | None = None
    phase: NDArray[np.int8] | None = None
    outside: NDArray[np.float32] | None = None


_SCORES = ("test_mape", "test_mspe", "test_r", "test_wape")


def _must_be_typed(record: FoldRecord) -> None:
    """Raise TypeError where a field of text or a whole number holds something else."""
    kinds = {"str": str, "FoldStatus": str, "int": int}
    for each in fields(record):
        value, kind = getattr(record, each.name), kinds.get(str(each.type))
        if kind is not None and not isinstance(value, kind):
            msg = f"{each.name} is {shown(value)}"
            raise TypeError(msg)


def _spelt(value: Any) -> Any:
    """Write infinities as text, so that a record read back is the one written."""
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _spelt(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_spelt(item) for item in value]
    return value


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    """Read back numbers: null is NaN, ``"inf"`` infinity."""
    return {name: math.nan if item is None else float(item) for name, item in values.items()}
