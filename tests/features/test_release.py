"""An engine's version as a number: in the order of releases, and exact in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.catalog import load_catalog
from gpucv.features.operators import OperatorQuantities
from gpucv.frames import PandasColumns

if TYPE_CHECKING:
    from pathlib import Path

# Ordered by hand: Python's rules (PEP 440), engine by engine.
RECORDED = {
    "sglang": ["0.5.6.post2", "0.5.9", "0.5.10", "0.5.12", "0.5.14"],
    "trtllm": ["1.0.0", "1.2.0rc5", "1.3.0rc10", "1.3.0rc15", "1.3.0rc17", "1.3.0rc20"],
    "vllm": ["0.12.0", "0.14.0", "0.18.0", "0.19.0", "0.20.0", "0.22.0", "0.24.0"],
}


def releases(versions: list[str | None]) -> np.ndarray:
    """What the feature is, in the precision it is kept in."""
    columns = PandasColumns(pd.DataFrame({"engine_version": versions}))
    return np.asarray(OperatorQuantities(columns, load_catalog()).release(), np.float32)


@pytest.mark.parametrize("engine", sorted(RECORDED))
def test_recorded_versions_rise_with_releases(engine: str, shared_data: Path) -> None:
    found = {path.parent.name for path in shared_data.glob(f"aiconfigurator/*/gemm/{engine}/*/*")}
    assert found == set(RECORDED[engine])
    assert (np.diff(releases(list(RECORDED[engine]))) > 0).all()


def test_a_release_lies_between_its_candidates_and_its_post_releases() -> None:
    rising: list[str | None] = [
        "1.2.9",
        "1.3.0.dev1",
        "1.3.0a1",
        "1.3.0b1",
        "1.3.0rc1",
        "1.3.0rc2",
        "1.3.0rc10",
        "1.3.0",
        "1.3.0.post1",
        "1.3.0.post12",
        "1.3.1.dev3",
        "1.3.1",
        "1.4",
        "2.0.0rc1",
        "2",
    ]
    assert (np.diff(releases(rising)) > 0).all()


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("0.5.6+cu129", "0.5.6"),
        ("0.5.6.post2+cu129", "0.5.6.post2"),
        ("v1.2.0", "1.2.0"),
        ("1.2", "1.2.0"),
        ("1.2.0-rc.5", "1.2.0rc5"),
        ("1.2.0.dev20240101", "1.2.0.dev7"),  # beyond the last place
        ("1.2.0rc99", "1.2.0rc39"),
    ],
)
def test_a_build_or_another_spelling_is_the_same_release(one: str, same: str) -> None:
    there, here = releases([one, same])
    assert there == here


def test_text_without_a_number_and_an_empty_cell_are_no_version() -> None:
    assert np.isnan(releases(["nightly", None])).all()
