"""No damaged file gets more out of a reader than one line and its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fuzz.target import explore, meet
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fuzz.target import Target

    Open = Callable[[str, Callable[[Path], Target]], Target]


@pytest.mark.fault(40)
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_damaged_file_is_read_or_refused_in_one_line(
    name: str, opened: Open, examples: tuple[int, bool]
) -> None:
    target = opened(name, TARGETS[name])
    for seed in target.seeds:
        assert meet(target, seed), "what is fuzzed must be readable to begin with"
    explore(target, examples[0], stable=examples[1])
