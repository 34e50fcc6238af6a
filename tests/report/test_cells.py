from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.report.cells import clean, count, decimal, percent, signed


@given(st.text())
def test_cleaned_text_is_printable_on_one_line_and_of_bounded_length(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= 120
    assert not [c for c in cleaned if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"]
    cleaned.encode("utf-8")


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=120))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_long_text_keeps_both_ends() -> None:
    cleaned = clean("a" * 500 + "b" * 500)
    assert cleaned.startswith("aaa")
    assert cleaned.endswith("bbb")
    assert "…" in cleaned


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(2559.7350250073723), "2559.7"),
        (signed(48.27), "+48.3"),
        (signed(-40.6088), "-40.6"),
        (decimal(0.9652063), "0.965"),
        (count(122752), "122,752"),
        (percent(math.nan), "-"),
        (percent(math.inf), "∞"),
        (signed(-math.inf), "-∞"),
    ],
)
def test_every_kind_of_number_has_one_spelling(written: str, expected: str) -> None:
    assert written == expected
