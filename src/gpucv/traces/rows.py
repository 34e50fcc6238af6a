"""Refuse or drop the rows that no predictor can learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpucv.errors import TraceError, nearest
from gpucv.schema import EXPERIMENT, STEP_ID, columns_by_name
from gpucv.traces.join import whole_numbers
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

__all__ = ["check_rows", "no_number"]


@dataclass(frozen=True, slots=True)
class _Fault:
    """One kind of unusable row: a stable code, what is wrong, and which rows have it."""

    code: str
    what: str
    column: str
    rows: np.ndarray[Any, Any]


def check_rows(
    frame: pd.DataFrame,
    *,
    target: str,
    keys: Sequence[str],
    policy: Literal["stop", "drop"],
    groups: Sequence[str] = (),
) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    """Return the usable rows of a step table.

    Unusable are rows whose target is missing, infinite or negative, whose key or group
    is missing, and rows after the first with the same key. Zero targets are kept and
    noted: the published metrics leave them out.

    Parameters
    ----------
    frame : pandas.DataFrame
    target : str
        The column predicted.
    keys : sequence of str
        Columns that together name a row, such as ``experiment_id`` and ``step.id``;
        empty where rows have no names.
    policy : {"stop", "drop"}
        Raise on the first unusable row, or leave such rows out and note their number.
    groups : sequence of str
        Columns that rows are held out by; a row without a group belongs to no fold.

    Returns
    -------
    frame : pandas.DataFrame
        The same frame where every row is usable, else a new one with a fresh index.
    notes : tuple of Note

    Raises
    ------
    TraceError
        If a column is missing or the target is no number; under ``stop``, if a row is
        unusable; and if no row is left or every target is zero.
    """
    import numpy as np

    _check_columns(frame, target, [*keys, *groups])
    bad = np.zeros(len(frame), dtype=bool)
    faults: list[_Fault] = []
    for fault in [*_target_faults(frame, target), *_label_faults(frame, [*keys, *groups])]:
        fresh = fault.rows & ~bad
        if fresh.any():
            faults.append(_Fault(fault.code, fault.what, fault.column, fresh))
            bad |= fresh
    repeated = _repeated(frame, keys, bad)
    if repeated.any():
        faults.append(_Fault("duplicate_key", f"repeated {' + '.join(keys)}", "", repeated))
        bad |= repeated
    if faults and policy == "stop":
        raise TraceError(_refusal(frame, faults, int(bad.sum())))
    usable = _without(frame, bad) if faults else frame
    notes = [_dropped(frame, fault) for fault in faults]
    return usable, (*notes, *_zeros(usable, target))


def _check_columns(frame: pd.DataFrame, target: str, labels: Sequence[str]) -> None:
    import pandas as pd

    for name in (target, *labels):
        if name not in frame.columns:
            msg = f"no column {name!r} in the step table{nearest(name, map(str, frame.columns))}"
            raise TraceError(msg)
    if not pd.api.types.is_numeric_dtype(frame[target].dtype):
        found = no_number(frame[target])
        msg = f"target {target!r} holds {found}, which is no number; mend it or name another target"
        raise TraceError(msg)


def no_number(column: pd.Series[Any]) -> str:
    """Return the first value of a column that is no number, and its row.

    A number with a decimal comma is text, and so is a whole column with one word in it.
    """
    import pandas as pd

    if not len(column):
        return "nothing"
    numbers = pd.to_numeric(column.astype("string"), errors="coerce")
    odd = (numbers.isna() & column.notna()).to_numpy(dtype=bool)
    row = int(odd.argmax())
    return f"{one_line(repr(column.iloc[row]), 60)} in row {row + 1:,}"


def _target_faults(frame: pd.DataFrame, target: str) -> list[_Fault]:
    import numpy as np

    values = frame[target].to_numpy(dtype="float64", na_value=np.nan)
    return [
        _Fault("missing_target", f"missing {target}", target, np.isnan(values)),
        _Fault("infinite_target", f"infinite {target}", target, np.isinf(values)),
        _Fault("negative_target", f"negative {target}", target, values < 0),
    ]


def _label_faults(frame: pd.DataFrame, labels: Sequence[str]) -> list[_Fault]:
    import pandas as pd

    faults = []
    for name in dict.fromkeys(labels):
        missing = frame[name].isna()
        if not pd.api.types.is_numeric_dtype(frame[name].dtype):
            missing |= (frame[name] == "").fillna(value=False).astype(bool)
        faults.append(_Fault("missing_label", f"missing {name}", name, missing.to_numpy()))
    return faults


def _repeated(
    frame: pd.DataFrame, keys: Sequence[str], bad: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return which rows repeat the key of an earlier row that is itself usable."""
    import numpy as np

    repeated = np.zeros(len(frame), dtype=bool)
    if keys:
        good = np.flatnonzero(~bad)
        repeated[good] = frame[list(keys)].iloc[good].duplicated().to_numpy()
    return repeated


def _refusal(frame: pd.DataFrame, faults: Sequence[_Fault], count: int) -> str:
    kinds = ", ".join(f"{int(fault.rows.sum()):,} with {fault.what}" for fault in faults)
    fault = min(faults, key=lambda each: int(each.rows.argmax()))
    return (
        f"{count:,} of {len(frame):,} rows cannot be used: {kinds} (first: "
        f'{_first(frame, fault)}); mend the data, or leave them out with bad_rows = "drop" '
        "under [data]"
    )


def _first(frame: pd.DataFrame, fault: _Fault) -> str:
    """Name the first row with a fault, as the trace names it, and the value found."""
    position = int(fault.rows.argmax())
    place = [f"row {position + 1}"]
    if EXPERIMENT in frame.columns:
        place.append(f"experiment {_value(frame, EXPERIMENT, position)}")
    if STEP_ID in frame.columns:
        place.append(f"step {_value(frame, STEP_ID, position)}")
    if fault.column:
        value = _value(frame, fault.column, position)
        place.append(f"{one_line(fault.column, 60)} is {value}")
    return ", ".join(place)


def _value(frame: pd.DataFrame, column: str, position: int) -> str:
    """Show one value as the trace has it: a whole number without the float's ``.0``."""
    import pandas as pd

    value: Any = frame[column].iloc[position]
    if bool(pd.isna(value)) or value == "":
        return "empty"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return one_line(value, 80)


def _dropped(frame: pd.DataFrame, fault: _Fault) -> Note:
    count = int(fault.rows.sum())
    message = (
        f"dropped {count:,} of {len(frame):,} rows with {fault.what} "
        f"(first: {_first(frame, fault)})"
    )
    return Note(f"dropped_{fault.code}", message, count, "warning")


def _without(frame: pd.DataFrame, bad: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Return the rows left, counts as ``int64`` again where no gap is left in them."""
    if bad.all():
        msg = f"all {len(frame):,} rows cannot be used; nothing is left to learn from"
        raise TraceError(msg)
    left = frame.loc[~bad].reset_index(drop=True)
    contract = columns_by_name()
    for name in left.columns:
        if name in contract and contract[name].dtype == "int64" and left[name].dtype.kind == "f":
            left[name] = whole_numbers(left[name].to_numpy())
    return left


def _zeros(frame: pd.DataFrame, target: str) -> list[Note]:
    if not len(frame):
        msg = "the step table has no rows"
        raise TraceError(msg)
    count = int((frame[target] == 0).sum())
    if count == len(frame):
        msg = f"{target} is zero in all {count:,} rows; name another target"
        raise TraceError(msg)
    if not count:
        return []
    message = (
        f"{target} is zero in {count:,} of {len(frame):,} rows ({count / len(frame):.2%}); "
        "they train, and the percentage errors leave them out"
    )
    return [Note("zero_target", message, count, "warning")]
