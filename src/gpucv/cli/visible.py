"""Text from data, made safe to print to a terminal, and the one way to print a line there."""

from __future__ import annotations

import contextlib
import json
import sys

__all__ = ["say", "visible", "visible_json", "visible_lines"]


def visible(text: str) -> str:
    """Return `text` on one line, every control character spelled out.

    An escape sequence in the name of a model would otherwise reach the terminal.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def visible_lines(text: str) -> str:
    """Return `text` with its line breaks, every other control character spelled out."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(text: str) -> str:
    """Return JSON `text` that reads back the same, control characters as their escapes."""
    return "\n".join(
        line
        if line.isprintable()
        else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
        for line in text.split("\n")
    )


def say(message: str, *, quiet: bool = False) -> None:
    """Print one line to stderr; a reader who has left must not end a run."""
    if not quiet:
        with contextlib.suppress(OSError):
            print(visible(message), file=sys.stderr, flush=True)
