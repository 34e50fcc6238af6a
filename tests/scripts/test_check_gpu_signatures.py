from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def check(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with two libraries that are here in the place of those that are not."""
    made = script("check_gpu_signatures")
    monkeypatch.setattr(made, "LIBRARIES", ("json", "fractions"))
    monkeypatch.setattr(
        made, "RETURNS", {"fractions.Fraction.limit_denominator": "fractions.Fraction"}
    )
    monkeypatch.setattr(made, "NAMED", {"self.xp": "json"})
    return made


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import json\njson.dumps({}, indent=2)", []),
        ("import json\njson.dumpz({})", ["there is no json.dumpz"]),
        ("def f():\n    import json as j\n    j.decoder.JSONDecoder(strikt=True)", ["no strikt"]),
        ("from json import dumps\ndumps(1, indnt=2)", ["json.dumps takes no indnt"]),
        (
            "from fractions import Fraction\nFraction(1, 3).limit(9)",
            ["no fractions.Fraction.limit"],
        ),
        (
            "import fractions\nhalf = fractions.Fraction(1).limit_denominator(max_denominator=3)\n"
            "half.is_whole()",
            ["no fractions.Fraction.is_whole"],
        ),
        (
            "import fractions\nfractions.Fraction(1).limit_denominator(most=3)",
            ["limit_denominator takes no most"],
        ),
        ("class A:\n    def f(self):\n        return self.xp.nowhere(1)", ["no json.nowhere"]),
        ("import os\nos.nothing()", []),  # none of the libraries
    ],
)
def test_what_is_not_there_is_found_and_nothing_else(
    check: Any, tmp_path: Path, source: str, told: list[str]
) -> None:
    path = tmp_path / "source.py"
    path.write_text(source, encoding="utf-8")
    reader = check.Reader(path)
    reader.read()
    assert len(reader.faults) == len(told)
    for found, part in zip(reader.faults, told, strict=True):
        assert part in found


def test_a_compiled_methods_parameters_are_read_from_its_description(check: Any) -> None:
    def compiled() -> None:
        """Base.max(self, axis=None, Py_ssize_t out=0) -> Base"""

    class Silent:
        __doc__ = compiled.__doc__

        @property
        def __signature__(self) -> Any:
            raise ValueError("compiled")

    assert check.parameters(Silent()) == {"self", "axis", "out"}
    assert check.parameters(dict) is None


def test_the_doubles_are_found_wherever_a_name_is_missing(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "DOUBLES", {"host_cudf": "json"})
    told = list(check.doubles_faults())
    assert "the double has json.read_parquet, and there is none" in told
    assert "the double has json.Series.astype, and there is none" in told


def test_without_the_libraries_it_says_so_and_fails(
    check: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "LIBRARIES", ("json", "no_such_library"))
    assert check.main() == 2
    assert "cannot check: no_such_library not installed here" in capsys.readouterr().err
