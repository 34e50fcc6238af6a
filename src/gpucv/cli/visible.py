"""Names from data, made safe to print to a terminal."""

from __future__ import annotations

__all__ = ["visible"]


def visible(text: str) -> str:
    """Return `text` on one line, every control character spelled out.

    An escape sequence in the name of a model would otherwise reach the terminal.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
