"""Take numbers and labels out of parsed records, or say where one is no such thing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import TraceError, nearest
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Field", "numbers", "texts"]

_LARGEST = 1e300
"""With room for a change of unit; what is measured is far smaller."""
_LARGEST_COUNT = 2**53
"""Every whole number up to here is also a float64, which is what features are made of."""


@dataclass(frozen=True, slots=True)
class Field:
    """One number of each record, zero or above.

    Attributes
    ----------
    key : str
        Its name in the record.
    whole : bool
        Whether it counts something.
    required : bool
        Whether every record must have it; else a missing one, or null, is null.
    share : bool
        Whether it lies between 0 and 1.
    """

    key: str
    whole: bool = False
    required: bool = True
    share: bool = False


def numbers(records: Sequence[dict[str, Any]], field: Field, where: Callable[[int], str]) -> Any:
    """Return one field of all records as a ``pyarrow`` array, int64 or float64.

    Parameters
    ----------
    records : sequence of dict
    field : Field
    where : callable
        Names the place of a record by its position, such as ``"a.jsonl, line 3"``.

    Raises
    ------
    TraceError
        At the first value that is missing, no number, not finite, negative, a fraction
        of a count, or beyond 1 where a share is meant.
    """
    import pyarrow as pa

    values = [record.get(field.key) for record in records]
    kinds = set(map(type, values))
    if kinds <= {int, float} or (not field.required and kinds <= {int, float, type(None)}):
        known = [value for value in values if value is not None]
        if _sound(known, field):
            if field.whole and float in kinds:
                values = [None if value is None else int(value) for value in values]
            elif not field.whole and int in kinds:
                values = [None if value is None else float(value) for value in values]
            return pa.array(values, pa.int64() if field.whole else pa.float64())
    for position, record in enumerate(records):
        fault = _fault(record, field)
        if fault:
            msg = f"{where(position)}: {fault}"
            raise TraceError(msg)
    msg = f"no fault found in {field.key}, though one was suspected"
    raise AssertionError(msg)


def _sound(values: list[int | float], field: Field) -> bool:
    import numpy as np

    try:
        floats = np.array(values, dtype=np.float64)
    except OverflowError:
        return False
    # NaN fails both comparisons.
    most = 1.0 if field.share else _LARGEST_COUNT if field.whole else _LARGEST
    sound = bool(((floats >= 0) & (floats <= most)).all())
    return sound and not (field.whole and (floats != np.floor(floats)).any())


def _fault(record: dict[str, Any], field: Field) -> str:
    """Return what is wrong with a record's field, empty if nothing is."""
    value = record.get(field.key)
    if value is None:
        return _missing(record, field.key) if field.required else ""
    fault = ""
    if type(value) not in {int, float}:
        fault = ", not a number; mend or remove that line"
    elif not abs(value) <= _LARGEST:  # NaN is not <= either
        fault = ", no finite number that is measured; mend or remove that line"
    elif value < 0:
        fault = ", below zero; mend or remove that line"
    elif field.share and value > 1:
        fault = "; it is a share, from 0 to 1: divide percentages by 100"
    elif field.whole and (value > _LARGEST_COUNT or value != math.floor(value)):
        fault = ", not a count; mend or remove that line"
    return fault and f"{field.key} is {one_line(repr(value), 60)}{fault}"


def _missing(record: dict[str, Any], key: str) -> str:
    if key in record:
        return f"{key} is null; record it, or remove that line"
    hint = nearest(key, record) or f"; it has {one_line(', '.join(record), 200)}"
    return f"no field {key!r}{hint}"


def texts(
    records: Sequence[dict[str, Any]], keys: Sequence[str], where: Callable[[int], str]
) -> list[str | None]:
    """Return the first of `keys` each record has, None where it has none.

    Raises
    ------
    TraceError
        At the first value that is neither text nor null.
    """
    found = [record.get(keys[0]) for record in records]
    for key in keys[1:]:
        found = [
            record.get(key) if value is None else value
            for record, value in zip(records, found, strict=True)
        ]
    if not set(map(type, found)) <= {str, type(None)}:
        at = next(at for at, value in enumerate(found) if not isinstance(value, str | None))
        key = next(key for key in keys if records[at].get(key) is not None)
        msg = f"{where(at)}: {key} is {one_line(repr(found[at]), 60)}, not text"
        raise TraceError(msg)
    return found
