"""What the running requests of a step read from the KV cache: the sum of their contexts.

``step.REQUEST_SNAPSHOT`` describes one running request of a sampled step. It is taken
when the step has been scheduled and before its tokens are counted, so
``request.num_computed_tokens`` is the context *before* the step: tokens whose keys and
values are in the cache when the step begins. The tokens the step itself adds are
``batch.scheduled_tokens``.
"""

from __future__ import annotations

from typing import Any

from gpucv.errors import TraceError
from gpucv.schema import SNAPSHOT_COLUMNS, STEP_ID
from gpucv.traces.formats.otel.attributes import Attributes, count, text
from gpucv.traces.provenance import Note

__all__ = ["Contexts", "Snapshots", "cached_prefix"]

_COMPUTED = "request.num_computed_tokens"

_LONGEST = 1 << 40
"""Tokens; no context comes near it."""

Contexts = tuple[int, int, int]
"""Sum, maximum and number of the contexts of one step."""


class Snapshots:
    """The contexts of each step, until the step itself takes them.

    Three numbers are held per step, and no snapshot itself.
    """

    def __init__(self) -> None:
        self._open: dict[int, Contexts] = {}
        self._partial = 0
        self._lacking = 0
        self._first = ""

    def add(self, values: Attributes, where: str) -> None:
        """Count one snapshot's context in.

        Raises
        ------
        TraceError
            If its step or its context is no count.
        """
        try:
            step, context = int(values[STEP_ID]["intValue"]), int(values[_COMPUTED]["intValue"])
        except (KeyError, TypeError, ValueError):
            step = context = -1
        if step < 0 or not 0 <= context < _LONGEST:
            # Slower, and says what is wrong.
            found = _checked(values, where)
            if found is None:
                self._lacking += 1
                self._first = self._first or where
                return
            step, context = found
        total, largest, requests = self._open.get(step, (0, 0, 0))
        self._open[step] = (total + context, max(largest, context), requests + 1)

    def take(self, step: int | None, running: int | None) -> Contexts | None:
        """Return the contexts of a step, which are then forgotten.

        None where the step has no snapshots, or another number of them than requests ran:
        the sum over some of the requests would pass for the sum over all.
        """
        found = self._open.pop(step, None) if step is not None else None
        if found is None or running is None or found[2] == running:
            return found
        self._partial += 1
        return None

    def take_all(self, steps: Any, running: Any) -> list[Any]:
        """Return sums, maxima and means of the steps, as Arrow arrays with gaps.

        Parameters
        ----------
        steps, running : pyarrow.Array
            Number and running requests of each step.
        """
        import pyarrow as pa

        kinds = [pa.int64(), pa.int64(), pa.float64()]
        if not self._open:
            return [pa.nulls(len(steps), kind) for kind in kinds]
        pairs = zip(steps.to_pylist(), running.to_pylist(), strict=True)
        taken = [self.take(step, depth) for step, depth in pairs]
        columns = [
            [None if each is None else each[0] for each in taken],
            [None if each is None else each[1] for each in taken],
            [None if each is None else each[0] / each[2] for each in taken],
        ]
        return [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]

    def notes(self, name: str) -> tuple[Note, ...]:
        """Return where snapshots and steps did not fit; to be asked after the last step."""
        notes = []
        columns = ", ".join(column.name for column in SNAPSHOT_COLUMNS)
        if self._partial:
            message = (
                f"{name}: {self._partial:,} steps have another number of request snapshots than "
                f"requests running; their {columns} were left empty"
            )
            notes.append(Note("snapshots_incomplete", message, self._partial, "warning"))
        if self._lacking:
            message = (
                f"{self._first}: a request snapshot without step.id or {_COMPUTED} "
                f"({self._lacking:,} in all); passed over"
            )
            notes.append(Note("snapshots_unreadable", message, self._lacking, "warning"))
        if self._open:
            message = (
                f"{name}: request snapshots of {len(self._open):,} steps (first: "
                f"{min(self._open)}) belong to no step summary before or shortly after them; "
                "passed over"
            )
            notes.append(Note("snapshots_without_step", message, len(self._open), "warning"))
        return tuple(notes)


def _checked(values: Attributes, where: str) -> tuple[int, int] | None:
    """Return a snapshot's step and context, or None where it has not both."""
    step, context = count(values, STEP_ID, where), count(values, _COMPUTED, where)
    if context is not None and context >= _LONGEST:
        msg = f"{where}: {_COMPUTED} is {context}; no context is that long"
        raise TraceError(msg)
    return None if step is None or context is None else (step, context)


def cached_prefix(values: Attributes, where: str) -> tuple[str, int] | None:
    """Return a snapshot's request and the prompt tokens it found in the prefix cache.

    None where the snapshot does not tell.
    """
    request = text(values, "request.id", where)
    prompt = count(values, "request.num_prompt_tokens", where)
    computed = count(values, "request.effective_prompt_len", where)
    if request is None or prompt is None or computed is None or computed > prompt:
        return None
    return request, prompt - computed
