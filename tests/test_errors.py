from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gpucv import errors
from gpucv.errors import GpucvError, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


def every_error(parent: type[GpucvError] = GpucvError) -> Iterator[type[GpucvError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from every_error(child)


def test_the_tree_drawn_at_the_top_is_the_tree_of_classes_with_their_exit_codes() -> None:
    drawn = dict(re.findall(r"(\w+Error) +(\d)", errors.__doc__ or ""))
    assert drawn == {each.__name__: str(each.exit_code) for each in every_error()}


def test_every_error_class_is_offered() -> None:
    assert {each.__name__ for each in every_error()} <= set(errors.__all__)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lerning_rate", "; did you mean 'learning_rate'?"),
        ("learning-rate", "; did you mean 'learning_rate'?"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_the_nearest_known_name_is_offered_and_a_far_one_is_not(name: str, hint: str) -> None:
    assert nearest(name, ["max_depth", "learning_rate"]) == hint


def test_a_value_is_shown_on_one_short_line() -> None:
    assert shown("two\nlines") == r"'two\nlines'"
    assert len(shown("x" * 1000)) == 80
