from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fuzz.target import Target


@pytest.fixture(scope="session")
def opened(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], Target]], Target]:
    """Make a target in a folder of its own, beside what targets share."""
    whole = tmp_path_factory.mktemp("fuzzed")

    def make(name: str, target: Callable[[Path], Target]) -> Target:
        (whole / name).mkdir()
        return target(whole / name)

    return make


@pytest.fixture(scope="session")
def examples() -> tuple[int, bool]:
    """How many damaged files each target reads, and whether they are always the same ones."""
    asked = os.environ.get("GPUCV_FUZZ_EXAMPLES")
    return (int(asked), False) if asked else (40, True)
