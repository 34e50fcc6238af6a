"""Columns of a pandas frame as NumPy arrays."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpucv.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from gpucv.frames.protocol import Array, ArrayNamespace

__all__ = ["PandasColumns"]


class PandasColumns:
    """`gpucv.frames.protocol.Columns` over a pandas frame.

    Attributes
    ----------
    frame : DataFrame
        Where the columns are taken from.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.xp: ArrayNamespace = np
        self.frame = frame
        self._codes: dict[str, tuple[NDArray[np.intp], list[str]]] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    def __contains__(self, name: object) -> bool:
        """Tell whether the frame has a column of that name."""
        return name in self.frame.columns

    def numbers(self, name: str, missing: float) -> Array:
        """Return column `name` as float64, nulls and an absent column read as `missing`."""
        if name not in self.frame.columns:
            return np.full(len(self), missing)
        column = self.frame[name]
        try:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            msg = f"column {name!r} holds {column.dtype}, not numbers: {error}"
            raise DataError(msg) from error
        return np.where(np.isnan(values), missing, values)

    def labels(self, name: str) -> list[str]:
        """Return the distinct values of a text column, sorted."""
        return sorted(self._coded(name)[1])

    def lookup(self, name: str, values: Mapping[str, float]) -> Array:
        """Return, row by row, the number `values` gives the text in column `name`."""
        codes, labels = self._coded(name)
        return self._spread([values[label] for label in labels], codes)

    def label_codes(self, name: str, reading: Callable[[str], str] = str) -> Array:
        """Return a number for what `reading` makes of each row's text; 0 where empty."""
        if name not in self.frame.columns:
            return self.xp.zeros(len(self))
        codes, labels = pd.factorize(self.frame[name])
        # 24 bits, which float32 holds exactly; 0 is kept for "empty".
        texts = [reading(str(label)) for label in labels]
        numbers = [zlib.crc32(text.encode()) % (2**24 - 1) + 1 if text else 0 for text in texts]
        return self._spread([*numbers, 0], codes)  # -1: the last, an empty cell

    def reading(self, name: str, number: Callable[[str], float]) -> Array:
        """Return what `number` makes of each row's text, NaN where the cell is empty."""
        codes, labels = pd.factorize(self.frame[name])
        values = [number(str(label)) for label in labels]
        return self._spread([*values, np.nan], codes)  # -1: the last, an empty cell

    def _spread(self, values: list[float], codes: NDArray[np.intp]) -> Array:
        """Return `values[code]` for each row's code, as float64 where the columns are."""
        return self.xp.asarray(np.array(values, dtype=np.float64))[self.xp.asarray(codes)]

    def _coded(self, name: str) -> tuple[NDArray[np.intp], list[str]]:
        """Return column `name` as positions in a list of its distinct texts, made once."""
        if name not in self._codes:
            codes, found = pd.factorize(self.frame[name])
            absent = int((codes < 0).sum())
            if absent:
                msg = f"column {name!r} is empty in {absent:,} rows; fill them in or drop them"
                raise DataError(msg)
            self._codes[name] = codes, [str(value) for value in found]
        return self._codes[name]

    def blocks(self, rows: int) -> Iterator[tuple[slice, PandasColumns]]:
        """Yield the frame in blocks of at most `rows` rows, with their place in it."""
        for place in self._places(rows):
            yield place, PandasColumns(self.frame.iloc[place])

    def _places(self, rows: int) -> Iterator[slice]:
        for start in range(0, len(self), rows):
            yield slice(start, min(start + rows, len(self)))
