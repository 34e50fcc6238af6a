"""The project speaks of itself alone: no place, host or unfinished note of whoever wrote it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Put together from pieces, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.-])/(?:"
    + "|".join(["wo" + "rk", "t" + "mp", "ro" + "ot"])
    + ")/",
    "a registry host": "py"
    + r"pi\.(?:org|io)|pythonho"
    + r"sted\.org|pypi\.nvi"
    + r"dia\.com|ana"
    + r"conda\.(?:org|com)",
    "an unfinished note": r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b",
    "a merge left half done": r"^(?:<{7} |>{7} )",
}


def faults_of(text: str) -> list[str]:
    return [
        f"{what}: {match[0]!r}"
        for what, pattern in FORBIDDEN.items()
        for match in re.finditer(pattern, text, flags=re.MULTILINE)
    ]


def text_of(path: Path) -> str:
    """The file's text, "" for a binary file."""
    content = path.read_bytes()
    return "" if b"\0" in content[:8192] else content.decode("utf-8", errors="replace")


def test_no_kept_file_speaks_of_a_workplace(root: Path, kept_files: list[Path]) -> None:
    faults = {str(path.relative_to(root)): faults_of(text_of(path)) for path in kept_files}
    assert {name: found for name, found in faults.items() if found} == {}


def test_no_kept_file_is_large(root: Path, kept_files: list[Path]) -> None:
    # The embedded study is the largest; recordings and wheels do not belong in git.
    large = {
        str(path.relative_to(root)): path.stat().st_size
        for path in kept_files
        if path.stat().st_size > 8_000_000
    }
    assert large == {}


@pytest.mark.parametrize(
    "text",
    [
        "open('/" + "tmp/x')",
        "cd /" + "work/main",
        "https://py" + "pi.org/simple",
        "files.pythonho" + "sted.org",
        "# TO" + "DO: later",
        "<" * 7 + " HEAD",
    ],
)
def test_a_forbidden_word_is_found(text: str) -> None:
    assert len(faults_of(text)) == 1


@pytest.mark.parametrize("text", ["~/network/drive", "todo list", "/framework/x", "a.work/b"])
def test_an_innocent_word_is_not(text: str) -> None:
    assert faults_of(text) == []
