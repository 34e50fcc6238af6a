"""See that no two column chunks of a parquet file share bytes.

Page checksums cover pages, not the footer that says where each column's pages begin. One
flipped bit there can send a column to another's pages, whose checksums hold: sound values in
the wrong rows. In a sound file each chunk has bytes of its own, so the places are compared.

pyarrow has the places too, but asking it for a damaged column's ends the whole process. So
they are read here, from the footer's Thrift (compact protocol): Apache Parquet's
``parquet.thrift``, FileMetaData 4 > RowGroup 1 > ColumnChunk 3 > ColumnMetaData.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["refuse_shared_bytes"]

_MAGIC_BYTES = 4
"""``PAR1``, at both ends of the file."""
_ROW_GROUPS, _COLUMNS, _CHUNK = 4, 1, 3
_SIZE, _DATA_PAGE, _DICTIONARY_PAGE = 7, 9, 11


def refuse_shared_bytes(path: Path) -> None:
    """Raise ValueError where column chunks overlap, or leave the part of the file for them.

    Parameters
    ----------
    path : Path
        A file that pyarrow has opened; so it ends as a parquet file does.
    """
    with path.open("rb") as file:
        end = file.seek(-_MAGIC_BYTES - 4, 2)
        length = int.from_bytes(file.read(4), "little")
        start = file.seek(end - length)
        footer = file.read(length)
    try:
        places = _places(_Thrift(footer).struct())
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        msg = "its footer cannot be read"
        raise ValueError(msg) from error
    before = _MAGIC_BYTES
    for first, size in sorted(places):
        if first < before or size < 0 or first + size > start:
            msg = f"its footer sends two columns to the same bytes, at {first:,}"
            raise ValueError(msg)
        before = first + size


def _places(footer: dict[int, Any]) -> list[tuple[int, int]]:
    """Return the first byte and the size of each column chunk."""
    places = []
    for group in footer[_ROW_GROUPS]:
        for column in group[_COLUMNS]:
            chunk = column[_CHUNK]
            # 0 stands for no such page: of no rows, there is but a dictionary.
            pages = [at for at in (chunk[_DATA_PAGE], chunk.get(_DICTIONARY_PAGE, 0)) if at]
            if pages:
                places.append((index(min(pages)), index(chunk[_SIZE])))
    return places


class _Thrift:
    """Values of Thrift's compact protocol; structs as the values by their fields' numbers."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._whole()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._whole()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._count())
            case 9 | 10:
                return self._list()
            case 12:
                return self.struct()
        msg = f"no such kind of value: {kind}"  # no field of a footer is a map
        raise TypeError(msg)

    def _list(self) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._count()
        return [self._value(head & 15) for _ in range(count)]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _count(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _whole(self) -> int:
        value = self._count()
        return (value >> 1) ^ -(value & 1)
