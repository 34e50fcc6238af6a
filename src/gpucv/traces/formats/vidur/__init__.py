"""Vidur's operator profiles: ``<gpu>/<organisation>/<model>/{mlp,attention}.csv``, in ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.traces.formats.base import Format
from gpucv.traces.formats.csv_columns import header_of
from gpucv.traces.formats.vidur.columns import COLUMNS
from gpucv.traces.formats.vidur.reader import open_profile

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VIDUR"]


def _is_profile(path: Path) -> bool:
    return any(name.startswith("time_stats.") for name in header_of(path))


VIDUR = Format(
    name="vidur",
    told="operator profiles: mlp.csv and attention.csv (Vidur)",
    files=("mlp.csv", "attention.csv"),
    columns=COLUMNS,
    kind="measurements",
    recognises=_is_profile,
    open=open_profile,
    joins_repeats=True,
)
