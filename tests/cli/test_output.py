from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from gpucv.cli.output import choose_progress, print_json, say

if TYPE_CHECKING:
    import pytest


class Gone(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_who_leaves_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())
    say("one fold more")
    choose_progress(quiet=False).start(4, 2, 100)


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb\x1b[2J")
    assert capsys.readouterr().err == "a\\nb\\x1b[2J\n"


def test_an_object_goes_to_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"mape": float("nan")})
    assert capsys.readouterr() == ('{\n "mape": null\n}\n', "")
