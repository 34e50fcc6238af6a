"""A checksum of what a step table holds, whatever file or library wrote it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ContentDigest"]


class ContentDigest:
    """SHA-256 over the columns of a table fed piece by piece.

    Every column has a digest of its own (numbers as little-endian 64-bit values, text
    as UTF-8 bytes and lengths); `hexdigest` is the SHA-256 of the lines
    ``name dtype digest`` in column order. How the rows were cut into pieces, the
    compression and the file format do not matter.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._columns = {field.name: hashlib.sha256() for field in schema}
        self._lengths = {
            field.name: hashlib.sha256() for field in schema if pa.types.is_string(field.type)
        }

    def update(self, table: pa.Table) -> None:
        """Add the rows of `table`, whose columns must be those of the schema."""
        for field in self._schema:
            for chunk in table.column(field.name).chunks:
                if field.name in self._lengths:
                    lengths = pc.binary_length(chunk).to_numpy()
                    self._lengths[field.name].update(_little_endian(lengths))
                    self._columns[field.name].update("".join(chunk.to_pylist()).encode())
                else:
                    self._columns[field.name].update(_little_endian(chunk.to_numpy()))

    def hexdigest(self) -> str:
        """Return the digest of everything added so far, 64 hex digits."""
        lines = []
        for field in self._schema:
            digest = self._columns[field.name].hexdigest()
            if field.name in self._lengths:
                digest += self._lengths[field.name].hexdigest()
            lines.append(f"{field.name} {field.type} {digest}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _little_endian(values: NDArray[np.generic]) -> bytes:
    kind = "<f8" if values.dtype.kind == "f" else "<i8"
    return np.ascontiguousarray(values, dtype=kind).tobytes()
