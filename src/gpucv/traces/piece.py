"""What every reader returns, and which columns it is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import TraceError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpucv.traces.provenance import Note, SourceFile

__all__ = ["Piece", "Selection", "one_line"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows of one source, before they are joined with others.

    `table` is a ``pyarrow.Table``; its text columns are dictionary-encoded. `whole` says
    that columns it lacks hold nothing, so that their absence is no news.
    """

    table: Any
    source: SourceFile
    notes: tuple[Note, ...] = ()
    synthetic: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Columns that must be there (`required`) and columns to read (None: all).

    With `filled`, columns without a single value are left out unless they are required.
    """

    required: tuple[str, ...]
    columns: tuple[str, ...] | None
    filled: bool = False

    def pick(self, names: Sequence[str], where: str) -> list[str]:
        """Return the columns of file `where` to read, in the file's own order.

        Raises
        ------
        TraceError
            If a name stands twice, or a required one is missing.
        """
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            msg = f"{where}: column {one_line(repr(twice[0]))} stands twice; rename one of them"
            raise TraceError(msg)
        self.check(names, where)
        if self.columns is None:
            return list(names)
        wanted = {*self.columns, *self.required}
        picked = [name for name in names if name in wanted]
        if not picked:
            msg = f"{where}: none of the columns asked for; it has {_some(names)}"
            raise TraceError(msg)
        return picked

    def check(self, names: Iterable[str], where: str) -> None:
        """Raise TraceError unless every required column is among `names`."""
        known = list(names)
        missing = [name for name in self.required if name not in known]
        if not missing:
            return
        shown = ", ".join(repr(name) for name in missing[:8])
        if len(missing) == 1:
            hint = nearest(missing[0], known) or f"; it has {_some(known)}"
        else:
            hint = f"; it has {_some(known)}"
        msg = f"{where}: no column {shown}{one_line(hint, 300)}"
        raise TraceError(msg)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"


def one_line(text: object, limit: int = 160) -> str:
    """Return `text` on one line, without control characters, cut to `limit` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
