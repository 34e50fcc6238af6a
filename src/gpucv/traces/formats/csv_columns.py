"""Take numbers, flags and labels out of a CSV file's columns, or say which line is wrong.

For files of measurements small enough to be held whole, where a column has one meaning:
text in a column of numbers is a fault of the file, never a reason to read it as text.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import EnvironmentFaultError, TraceError, nearest
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.traces.memory import MemoryBudget
    from gpucv.traces.sources import Source

__all__ = ["CsvColumns", "header_of"]

_HEADER = 1 << 16
"""Bytes looked at for a header; Frontier's longest has some 3,000."""
_LARGEST = 1e15
"""No time in ms and no count comes near it; further up, products overflow."""
_GROWTH = 20
"""Bytes in memory of a byte of the file: measured, 19 for a profile of 50 times a row in long
form, which is what the columns become."""


def header_of(path: Path) -> list[str]:
    """Return the names in a file's first line, [] if it cannot be read as one."""
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER).decode("utf-8-sig", "replace")
        return next(csv.reader(start.splitlines()), [])
    except (OSError, csv.Error):
        return []


class CsvColumns:
    """The columns of one CSV file, each asked for as what it has to be.

    Parameters
    ----------
    source : Source
    budget : MemoryBudget

    Raises
    ------
    TraceError
        If the file is empty, has a header only, or cannot be split into fields.
    """

    def __init__(self, source: Source, budget: MemoryBudget) -> None:
        self.name = source.name
        self._path = source.path
        self._frame = self._read(budget)
        if not len(self._frame):
            msg = f"{self.name} has a header and no rows"
            raise TraceError(msg)

    def __len__(self) -> int:
        return len(self._frame)

    def __contains__(self, column: str) -> bool:
        return column in self._frame.columns

    @property
    def columns(self) -> list[str]:
        """The names in the header."""
        return list(self._frame.columns)

    def require(self, columns: Iterable[str]) -> None:
        """Raise TraceError, with the nearest name, unless the file has every column."""
        missing = [column for column in columns if column not in self]
        if missing:
            hint = one_line(nearest(missing[0], self.columns), 200)
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            msg = f"{self.name}: no column {missing[0]!r}{more}{hint}"
            raise TraceError(msg)

    def numbers(
        self, column: str, *, least: float = 0, whole: bool = False, gaps: bool = False
    ) -> NDArray[np.float64]:
        """Return a column of finite numbers.

        Parameters
        ----------
        column : str
        least : float
            The smallest a value may be.
        whole : bool
            Whether it counts something.
        gaps : bool
            Whether values may be missing (NaN).

        Raises
        ------
        TraceError
            With the line, at the first value that is none of this.
        """
        self.require([column])
        values = self._as_floats(column)
        missing = np.isnan(values)
        self._refuse(column, np.isinf(values), "which is not finite")
        self._refuse(column, values > _LARGEST, "too large to be measured")
        if not gaps:
            self._refuse(column, missing, "no value; is the file cut short?")
        self._refuse(column, ~missing & (values < least), f"and cannot be below {least:g}")
        if whole:
            self._refuse(column, ~missing & (values != np.floor(values)), "which is no count")
        return values

    def flags(self, column: str, *, gaps: bool = False) -> NDArray[np.bool_]:
        """Return a column of truth values; with `gaps`, a missing one is False."""
        self.require([column])
        words = self._frame[column].astype("string").str.strip().str.lower()
        true, false = words.isin(["true", "1", "1.0"]), words.isin(["false", "0", "0.0"])
        if gaps:
            false |= words.isna()
        self._refuse(column, ~(true | false).to_numpy(dtype=bool), "which is not True or False")
        return true.to_numpy(dtype=bool)

    def labels(self, column: str) -> NDArray[np.object_]:
        """Return a column of text without gaps."""
        self.require([column])
        values = self._frame[column]
        found = np.array([str(value).strip() for value in values], dtype=object)
        self._refuse(column, values.isna().to_numpy(dtype=bool) | (found == ""), "no value")
        return found

    def one(self, column: str, values: NDArray[Any], why: str) -> Any:
        """Return the value that every row has.

        Raises
        ------
        TraceError
            With the line, where a row has another; `why` says what to do.
        """
        first = values[0]
        other = np.flatnonzero(values != first)
        if other.size:
            msg = (
                f"{self.name}, line {self._line(int(other[0]))}: {column!r} is "
                f"{_shown(values[other[0]])}, and {_shown(first)} above; {why}"
            )
            raise TraceError(msg)
        return first

    def duplicates(self) -> int:
        """Return how many rows equal an earlier one in every column."""
        return int(self._frame.duplicated().sum())

    def _as_floats(self, column: str) -> NDArray[np.float64]:
        import pandas as pd

        values = self._frame[column]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            return values.to_numpy(dtype=np.float64)
        numbers = pd.to_numeric(values.astype("string"), errors="coerce")
        wrong = (numbers.isna() & values.notna()).to_numpy(dtype=bool)
        self._refuse(column, wrong, "which is no number")
        return numbers.to_numpy(dtype=np.float64, na_value=np.nan)

    def _refuse(self, column: str, wrong: NDArray[np.bool_], why: str) -> None:
        """Raise TraceError at the first row that is `wrong`, if there is one."""
        rows = np.flatnonzero(wrong)
        if not rows.size:
            return
        value = self._frame[column].iloc[rows[0]]
        held = why if _is_missing(value) else f"{_shown(value)}, {why}"
        more = f" (and {rows.size - 1:,} lines more)" if rows.size > 1 else ""
        msg = f"{self.name}, line {self._line(int(rows[0]))}: {column!r} holds {held}{more}"
        raise TraceError(msg)

    def _read(self, budget: MemoryBudget) -> pd.DataFrame:
        import pandas as pd

        try:
            budget.require(self._path.stat().st_size * _GROWTH, self.name)
            self._refuse_zero_bytes()
            frame = pd.read_csv(self._path, low_memory=False, encoding="utf-8-sig")
        except pd.errors.EmptyDataError as error:
            msg = f"{self.name} is empty ({self._path.stat().st_size} bytes)"
            raise TraceError(msg) from error
        except UnicodeDecodeError as error:
            msg = f"{self.name} is not UTF-8 text: {one_line(error)}"
            raise TraceError(msg) from error
        except (pd.errors.ParserError, ValueError, OverflowError) as error:
            msg = f"{self.name}: {one_line(error)}; mend or remove that line"
            raise TraceError(msg) from error
        except OSError as error:
            msg = f"cannot read {self.name}: {error.strerror or error}"
            raise EnvironmentFaultError(msg) from error
        if not isinstance(frame.index, pd.RangeIndex):
            # pandas takes what stands before the first name for an index.
            msg = f"{self.name}: rows have more fields than the header has names"
            raise TraceError(msg)
        self._refuse_names_standing_twice()
        if len(frame.columns) == 1:
            self._refuse_other_separator(str(frame.columns[0]))
        return frame

    def _refuse_zero_bytes(self) -> None:
        """Raise TraceError for bytes 0 in text: pandas would cut a number short there."""
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    return  # UTF-16, which is refused by that name
                if b"\0" in line:
                    msg = f"{self.name}, line {number}: bytes 0 among the text; copy the file again"
                    raise TraceError(msg)

    def _refuse_other_separator(self, header: str) -> None:
        if found := [mark for mark in ";\t|" if mark in header]:
            msg = f"{self.name}: fields are parted by {found[0]!r}; save it with commas"
            raise TraceError(msg)

    def _refuse_names_standing_twice(self) -> None:
        names = header_of(self._path)
        twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
        if twice:
            msg = f"{self.name}: column {one_line(repr(twice[0]))} stands twice; rename one of them"
            raise TraceError(msg)

    def _line(self, row: int) -> int:
        """Return the line a row ends on: blank lines are no rows."""
        with self._path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = csv.reader(file)
            try:
                ends = (lines.line_num for fields in lines if fields)
                return next((line for seen, line in enumerate(ends) if seen == row + 1), row + 2)
            except csv.Error:
                return row + 2


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def _shown(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return f"{value:g}" if isinstance(value, float) else one_line(repr(value), 60)
