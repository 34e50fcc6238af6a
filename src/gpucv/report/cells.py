"""How a value is written in every rendering: one spelling per kind of number."""

from __future__ import annotations

import math
import unicodedata

__all__ = ["ABSENT", "clean", "clean_sentence", "count", "decimal", "percent", "share", "signed"]

ABSENT = "-"
"""Stands where a number does not exist."""


def clean(value: object, longest: int = 120) -> str:
    """Make text from the data safe to show: printable, on one line, of bounded length.

    Control, format (bidirectional overrides among them), surrogate and private
    characters become U+FFFD, so that no name can steer a terminal or hide what
    stands beside it. Text over `longest` characters loses its middle.
    """
    text = "".join(_visible(character) for character in str(value))
    if len(text) > longest:
        text = f"{text[: longest - 31]}…{text[-30:]}"
    return text


def clean_sentence(text: str) -> str:
    """Clean a sentence without cutting it: names inside it are already bounded by it."""
    return " ".join(clean(word) for word in text.split(" "))


def _visible(character: str) -> str:
    if character in "\t\n\r":
        return " "
    category = unicodedata.category(character)
    return "\ufffd" if category[0] == "C" or category in ("Zl", "Zp") else character


def percent(value: float) -> str:
    """Write a percentage to one decimal: ``2559.7``. No unit: the header names it."""
    return f"{value:.1f}" if math.isfinite(value) else _odd(value)


def signed(value: float) -> str:
    """Write a signed percentage to one decimal: ``+48.3``, ``-40.6``."""
    return f"{value:+.1f}" if math.isfinite(value) else _odd(value)


def decimal(value: float, places: int = 3) -> str:
    """Write a plain number to `places` decimals."""
    return f"{value:.{places}f}" if math.isfinite(value) else _odd(value)


def count(value: float) -> str:
    """Write a whole number with thousands separated: ``122,752``."""
    return f"{value:,.0f}" if math.isfinite(value) else _odd(value)


def share(part: int, whole: int) -> str:
    """Write a number of folds beside the number planned: ``n = 3 of 4``."""
    return f"n = {part} of {whole}"


def _odd(value: float) -> str:
    return ABSENT if math.isnan(value) else "∞" if value > 0 else "-∞"
