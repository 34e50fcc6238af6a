"""The lines of a ``traces.json``: one OTLP export each, parsed one at a time.

``traces.json`` holds one OTLP export per line::

    resourceSpans[] > scopeSpans[] {scope.name} > spans[] > events[] {name, attributes[]}

A line may mix the spans of several scopes. It is the most that is held at once, so a
recording of any length is read in bounded memory.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, TraceError
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.traces.sources import Source

__all__ = ["LONGEST_LINE", "SNAPSHOT_EVENT", "STEP_EVENT", "Exports", "no_garbage_collection"]

STEP_EVENT = "step.BATCH_SUMMARY"
"""The event that describes one step."""
SNAPSHOT_EVENT = "step.REQUEST_SNAPSHOT"
"""The event that describes one running request of one step."""
LONGEST_LINE = 1 << 26
"""Bytes; parsed, a line takes some fifteen times its length in memory."""


class Exports:
    """The exports of one trace, and what the file was.

    Parameters
    ----------
    source : Source
        The ``traces.json``.
    on_bytes : callable, optional
        Called with the number of bytes of each line read.
    longest_line : int
        Bytes; a longer line is refused before it is parsed.
    """

    def __init__(
        self,
        source: Source,
        on_bytes: Callable[[int], None] | None = None,
        longest_line: int = LONGEST_LINE,
    ) -> None:
        self.name, self.label = source.name, source.label
        self._path = source.path
        self._on_bytes = on_bytes
        self._longest = longest_line
        self._digest = hashlib.sha256()
        self._size = 0
        self._torn_line = 0
        self._seen: Counter[tuple[str, str]] = Counter()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that hold anything, with their numbers.

        Raises
        ------
        TraceError
            If a line is longer than any export.
        EnvironmentFaultError
            If the file cannot be read.
        """
        number = 0
        try:
            with self._path.open("rb") as file:
                while line := file.readline(self._longest + 1):
                    number += 1
                    if len(line) > self._longest:
                        msg = (
                            f"{self.name}, line {number}: longer than "
                            f"{self._longest >> 20} MiB; a trace has one export per line"
                        )
                        raise TraceError(msg)
                    self._digest.update(line)
                    self._size += len(line)
                    if self._on_bytes is not None:
                        self._on_bytes(len(line))
                    if line.strip():
                        yield number, line
        except OSError as error:
            msg = f"cannot read {self.name}: {error.strerror}"
            raise EnvironmentFaultError(msg) from error

    def parse(self, line: bytes, number: int) -> Any:
        """Return a line's JSON value; an export of nothing for a last line that breaks off.

        Raises
        ------
        TraceError
            If the line is no JSON.
        """
        from pydantic_core import from_json

        try:
            return from_json(line, cache_strings="keys")
        except ValueError as error:
            if not line.endswith(b"\n"):
                # Only a killed recorder leaves a last line without its end.
                self._torn_line = number
                return {"resourceSpans": []}
            msg = (
                f"{self.name}, line {number}: not JSON ({one_line(error)}); mend or remove that "
                "line"
            )
            raise TraceError(msg) from error

    def place(self, number: int) -> str:
        """Return how messages name a line."""
        return f"{self.name}, line {number}"

    def no_export(self, number: int, error: Exception) -> TraceError:
        """Return the error for a line of JSON that is built otherwise than an export."""
        msg = (
            f"{self.name}, line {number}: JSON, but no OTLP trace export "
            f"({type(error).__name__}: {one_line(error)})"
        )
        return TraceError(msg)

    def passed_over(self, scope: Any, event: Any) -> None:
        """Count an event of another kind, to be told if none of the right kind comes."""
        self._seen[event["name"], scope.get("scope", {}).get("name", "no scope")] += 1

    def refuse(self, lacking: str, remedy: str) -> TraceError:
        """Return the error for a trace without the events wanted: it says what it holds."""
        if not self._size:
            return TraceError(f"{self.name} is empty (0 bytes); record it again")
        most = self._seen.most_common(4)
        found = ", ".join(f"{count:,} x {event} ({scope})" for (event, scope), count in most)
        msg = (
            f"{self.name}: no {lacking} event; it holds {one_line(found, 300) or 'no events'}; "
            f"{remedy}"
        )
        return TraceError(msg)

    def source_file(self, rows: int, kind: str) -> SourceFile:
        """Return size and digest of the trace; to be asked after the last line."""
        return SourceFile(self.name, self._size, self._digest.hexdigest(), rows, kind)

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed about the file; to be asked after the last line."""
        if not self._torn_line:
            return ()
        message = (
            f"{self.name}, line {self._torn_line}: the last line breaks off and was left "
            "out; the recorder was killed"
        )
        return (Note("torn_last_line", message, 1, "warning"),)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the search for reference cycles off a line: JSON has none, and it halves the speed."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
