"""The values of OTLP attributes.

An attribute is ``{"key": …, "value": {"intValue": "12"}}``: 64-bit integers are
strings; ``doubleValue``, ``stringValue`` and ``boolValue`` are as JSON has them.
"""

from __future__ import annotations

import math
from typing import Any

from gpucv.errors import TraceError
from gpucv.traces.piece import one_line

__all__ = ["Attributes", "attributes_of", "count", "number", "text"]

Attributes = dict[str, Any]
"""The attributes of one event or span, by key: ``{"intValue": "12"}`` and the like."""


def attributes_of(of: Any) -> Attributes:
    """Return the attributes of one event or span."""
    return {each["key"]: each["value"] for each in of.get("attributes", ())}


def number(values: Attributes, key: str, where: str, *, whole: bool) -> int | float | None:
    """Return one attribute as a number, or None where it is missing.

    Raises
    ------
    TraceError
        If it is no number, or `whole` and it is no 64-bit integer.
    """
    value = values.get(key)
    if value is None:
        return None
    try:
        found = value["intValue"] if "intValue" in value else value["doubleValue"]
        return _int64(found) if whole else float(found)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        msg = f"{where}: {key} is {one_line(repr(value), 60)}, not a number of its kind"
        raise TraceError(msg) from error


def count(values: Attributes, key: str, where: str) -> int | None:
    """Return one attribute that counts something, or None where it is missing.

    Raises
    ------
    TraceError
        If it is no whole number, or negative.
    """
    found = number(values, key, where, whole=True)
    if found is not None and found < 0:
        msg = f"{where}: {key} is {found}; it counts from 0"
        raise TraceError(msg)
    return None if found is None else int(found)


def text(values: Attributes, key: str, where: str) -> str | None:
    """Return one attribute as text (a number as written), or None where it is missing.

    Raises
    ------
    TraceError
        If it is a list or another structure.
    """
    value = values.get(key)
    if value is None:
        return None
    try:
        found = value["stringValue"] if "stringValue" in value else value["intValue"]
    except (KeyError, TypeError) as error:
        msg = f"{where}: {key} is {one_line(repr(value), 60)}, not text"
        raise TraceError(msg) from error
    return str(found)


def _int64(value: Any) -> int:
    if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
        msg = "a fraction"
        raise ValueError(msg)
    found = int(value)
    if not -(2**63) <= found < 2**63:
        msg = "beyond 64 bits"
        raise OverflowError(msg)
    return found
