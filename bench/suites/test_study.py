"""A whole study: all folds, placed as `gpucv run` places them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.benchmark.phases import run_study

if TYPE_CHECKING:
    from gpucv.benchmark.workload import Workload
    from gpucv.features import FeatureTable


def test_study(rounds: Any, workload: Workload, table: FeatureTable) -> None:
    told = rounds(lambda: run_study(table, workload))
    assert told["row_rounds"] > workload.rows * workload.rounds
