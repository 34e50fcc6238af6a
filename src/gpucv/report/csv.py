"""CSV files that a spreadsheet opens as data and gpucv reads back exactly."""

from __future__ import annotations

import csv
import math
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from gpucv.errors import RunError, clipped, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

__all__ = ["csv_text", "read_csv"]

# A spreadsheet takes a cell that starts so for a formula. Leading apostrophes
# are counted in, so that taking one away always gives the original back.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def csv_text(frame: pd.DataFrame) -> str:
    """Return `frame` as CSV: no index, full precision, newline line ends, NaN empty.

    Text cells that a spreadsheet would run as a formula get an apostrophe in
    front; numbers, negative ones too, stay as they are. Truth is ``true`` or ``false``.
    """
    guarded = frame.copy()
    returns = False
    for name in guarded.columns:
        if guarded[name].dtype == bool:
            guarded[name] = guarded[name].map({True: "true", False: "false"})
        elif not pd.api.types.is_numeric_dtype(guarded[name].dtype):
            guarded[name] = guarded[name].map(_guard)
            returns |= any("\r" in str(cell) for cell in guarded[name])
    # Python 3.11 leaves a bare carriage return unquoted, which then ends the row.
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return guarded.to_csv(index=False, lineterminator="\n", quoting=quoting)


def read_csv(
    path: Path,
    columns: Mapping[str, str],
    optional: Mapping[str, str] | None = None,
    later: Collection[str] = (),
) -> pd.DataFrame:
    """Read a table that `csv_text` made, in UTF-8.

    Parameters
    ----------
    path : Path
    columns : Mapping of str to str
        Every column the table must have, by kind: ``text``, ``count``,
        ``real`` or ``flag``. A group called ``NA`` or ``007`` keeps its name.
    optional : Mapping of str to str, optional
        Columns read where the table has them.
    later : collection of str, optional
        Those of `columns` that tables of earlier versions lack: NaN there.

    Returns
    -------
    pandas.DataFrame
        `columns` in their order, then the `optional` ones found; counts are int64 where
        none is missing.

    Raises
    ------
    RunError
        The file is missing, damaged, or lacks a column.
    """
    header, rows = _read_cells(path)
    missing = [name for name in columns if name not in header and name not in later]
    if missing:
        held = ", ".join(map(shown, header[:12]))
        raise RunError(f"{path}: column {missing[0]!r} is missing; found {held}")
    found = {name: kind for name, kind in (optional or {}).items() if name in header}
    return pd.DataFrame(
        {
            name: _column(
                [row[header.index(name)] if name in header else "" for row in rows],
                kind,
                f"{path}: column {name!r}",
            )
            for name, kind in {**columns, **found}.items()
        }
    )


def _read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a table's header and rows as text; the standard library keeps every character."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; is this a finished run folder?") from None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a table of this run ({error})") from None
    if not rows:
        raise RunError(f"{path}: not a table of this run (it is empty)")
    header, *rest = rows
    odd = next((number for number, row in enumerate(rest, 2) if len(row) != len(header)), None)
    if odd is not None:
        found = len(rest[odd - 2])
        raise RunError(f"{path}: row {odd} has {found} cells, not {len(header)}; is it cut off?")
    return header, rest


def _column(cells: list[str], kind: str, where: str) -> pd.Series[Any]:
    if kind == "text":
        return pd.Series([_unguard(cell) for cell in cells], dtype=str)
    if kind == "flag":
        odd = next((cell for cell in cells if cell not in ("true", "false")), None)
        if odd is not None:
            raise RunError(f"{where}: {shown(odd)} is neither true nor false")
        return pd.Series([cell == "true" for cell in cells], dtype=bool)
    try:
        # float() gives back the very number that was written; pandas' parsers need not.
        values = np.array([float(cell) if cell else math.nan for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise RunError(f"{where}: {clipped(str(error))}") from None
    whole = kind == "count" and bool(((abs(values) < 2**63) & (values % 1 == 0)).all())
    return pd.Series(values.astype(np.int64) if whole else values)


def _guard(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
