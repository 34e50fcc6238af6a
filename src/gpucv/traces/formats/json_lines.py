"""Read files of one JSON object per line, plain or gzip, in bounded memory.

A recorder that is killed leaves a last line without its end, or a gzip stream without
its end: what came before is sound, so it is kept and the loss is noted. Damage
anywhere else is an error that names the line.
"""

from __future__ import annotations

import hashlib
import zlib
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from gpucv.errors import EnvironmentFaultError, TraceError
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from gpucv.traces.sources import Source

__all__ = ["BATCH_BYTES", "BATCH_ROWS", "LONGEST_LINE", "JsonLines", "first_line"]

LONGEST_LINE = 1 << 24
"""Bytes; a record of one request or forward pass takes some hundreds."""
BATCH_ROWS = 1 << 14
"""Objects held at once: 30 to 60 MB of Python's, at some hundreds of bytes each."""
BATCH_BYTES = 1 << 24
"""Bytes of the lines they stand on, beside the last one: long lines make small batches."""
_GZIP_MAGIC = b"\x1f\x8b"
_READ = 1 << 16
"""Bytes read at once. A file of many short gzip members copies the rest of a block for
each of them, so blocks are short."""
_UNPACKED = 1 << 20
"""Bytes unpacked at once: a small gzip file can stand for any amount of memory."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonLines:
    """The objects of one file with their line numbers, and then what was read.

    Parameters
    ----------
    source : Source
        A plain file or gzip, whichever its first bytes say.
    on_bytes : callable
        Called with the number of bytes of the file, as stored, read since the last call.
    """

    def __init__(self, source: Source, on_bytes: Callable[[int], None]) -> None:
        self._source = source
        self._on_bytes = on_bytes
        self._digest = hashlib.sha256()
        self._size = 0
        self._torn_line = 0
        self._cut = False

    def batches(self) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
        """Yield the numbers and objects of many lines at a time, passing over empty ones.

        A batch ends with the line that fills `BATCH_ROWS` or `BATCH_BYTES`.

        Raises
        ------
        TraceError
            If the file is empty or damaged, or a line holds no JSON object.
        EnvironmentFaultError
            If the file cannot be read.
        """
        found = False
        numbers: list[int] = []
        objects: list[dict[str, Any]] = []
        held = 0
        for number, line, ended in self._lines():
            if not line or line.isspace():
                continue
            value = self._parse(line, number, ended=ended)
            if value is None:
                continue
            found = True
            numbers.append(number)
            objects.append(value)
            held += len(line)
            if len(objects) >= BATCH_ROWS or held >= BATCH_BYTES:
                yield numbers, objects
                numbers, objects, held = [], [], 0
        if objects:
            yield numbers, objects
        if not found:
            what = "holds no whole line of JSON" if self._size else "is empty (0 bytes)"
            msg = f"{self._source.name} {what}; record it again"
            raise TraceError(msg)

    def source_file(self, rows: int) -> SourceFile:
        """Return size and digest of the file as stored; to be asked after the last object."""
        digest = self._digest.hexdigest()
        return SourceFile(self._source.name, self._size, digest, rows, self._source.kind)

    def notes(self) -> tuple[Note, ...]:
        """Return whether the file breaks off; to be asked after the last object."""
        name = self._source.name
        if self._torn_line:
            message = (
                f"{name}, line {self._torn_line}: the last line breaks off and was left out; "
                "the recorder was killed"
            )
            return (Note("torn_last_line", message, 1, "warning"),)
        if self._cut:
            message = f"{name}: the gzip stream breaks off after a whole line; later ones are lost"
            return (Note("cut_gzip", message, 1, "warning"),)
        return ()

    def _parse(self, line: bytes, number: int, *, ended: bool) -> dict[str, Any] | None:
        from pydantic_core import from_json

        try:
            value = from_json(line, cache_strings="keys")
        except ValueError as error:
            if not ended:
                self._torn_line = number
                return None
            if line.lstrip().startswith(b"["):
                self._refuse_kind("array", line, number)
            msg = (
                f"{self._source.name}, line {number}: not JSON ({one_line(error)}); mend or "
                "remove that line"
            )
            raise TraceError(msg) from error
        if isinstance(value, dict):
            return value
        return self._refuse_kind("array" if isinstance(value, list) else "value", line, number)

    def _refuse_kind(self, kind: str, line: bytes, number: int) -> NoReturn:
        found = one_line(line.decode(errors="replace"), 60)
        msg = (
            f"{self._source.name}, line {number}: a JSON {kind}, {found}; the format has one "
            "whole object on each line"
        )
        raise TraceError(msg)

    def _lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yield number, bytes and whether a line feed follows, of each line."""
        number = 0
        parts: list[bytes] = []
        length = 0
        try:
            with self._source.path.open("rb") as file:
                for block in self._unpacked(self._stored(file)):
                    *whole, rest = block.split(b"\n")
                    for piece in whole:
                        number += 1
                        yield number, b"".join([*parts, piece]), True
                        parts.clear()
                        length = 0
                    parts.append(rest)
                    length += len(rest)
                    if length > LONGEST_LINE:
                        self._refuse_long_line(number + 1)
        except OSError as error:
            msg = f"cannot read {self._source.name}: {error.strerror}"
            raise EnvironmentFaultError(msg) from error
        except zlib.error as error:
            msg = (
                f"{self._source.name}: damaged gzip data after line {number} "
                f"({one_line(error)}); copy or record it again"
            )
            raise TraceError(msg) from error
        if length:
            yield number + 1, b"".join(parts), False

    def _stored(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the file's bytes as they are stored, and take account of them."""
        while block := file.read(_READ):
            self._digest.update(block)
            self._size += len(block)
            self._on_bytes(len(block))
            yield block

    def _unpacked(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        first = next(blocks, b"")
        if first.startswith(_GZIP_MAGIC):
            yield from self._gunzip(chain([first], blocks))
        else:
            yield first.removeprefix(_BYTE_ORDER_MARK)
            yield from blocks

    def _gunzip(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what one gzip stream after another holds; their checksums are checked."""
        stream = None
        for block in blocks:
            left = block
            while left:
                if stream is None:
                    left = left.lstrip(b"\0")  # some file systems pad with zeros
                    if not left:
                        break
                    stream = zlib.decompressobj(wbits=31)
                yield stream.decompress(left, _UNPACKED)
                if stream.eof:
                    left, stream = stream.unused_data, None
                else:
                    left = stream.unconsumed_tail
        if stream is not None:
            while data := stream.decompress(b"", _UNPACKED):
                yield data
            self._cut = not stream.eof

    def _refuse_long_line(self, number: int) -> None:
        msg = (
            f"{self._source.name}, line {number}: longer than {LONGEST_LINE >> 20} MiB; the "
            "format has one record on each line"
        )
        raise TraceError(msg)


def first_line(path: Path, most: int = 1 << 16) -> bytes:
    """Return the first line that is not blank, as far as the file's first bytes hold it.

    Unpacked where the file is gzip; empty where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(most)
        if head.startswith(_GZIP_MAGIC):
            head = zlib.decompressobj(wbits=31).decompress(head, most)
    except (OSError, zlib.error):
        return b""
    return _first_filled(head.splitlines())


def _first_filled(lines: Iterable[bytes]) -> bytes:
    return next((line for line in lines if line.strip()), b"")
