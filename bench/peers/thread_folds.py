"""Folds on threads, one core each, longest first: the best set-up of most libraries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.scoring import Figures
    from peers.study import Fold, Study

__all__ = ["on_threads"]


def on_threads(study: Study, cores: int, run: Callable[[Fold], Figures]) -> list[Figures]:
    """Run every fold, `cores` at a time; return their figures in the study's order."""
    with ThreadPoolExecutor(cores) as pool:
        under_way = {i: pool.submit(run, study.folds[i]) for i in study.longest_first()}
        return [under_way[i].result() for i in range(len(study.folds))]
