"""A folder in which the commands of a page run: as a checkout looks, with less data."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = Path(os.environ.get("GPUCV_SHARED_DATA", ROOT.parent / "shared" / "data"))
STEPS_KEPT = 100
TOKENS_KEPT = 256


@pytest.fixture(scope="session")
def little_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded study's first steps; of the public data, recordings and profiles alike."""
    folder = tmp_path_factory.mktemp("little")
    steps = pd.read_parquet(ROOT / "data" / "study.parquet")
    steps.groupby("experiment_id").head(STEPS_KEPT).to_parquet(folder / "study.parquet")
    if PUBLIC.is_dir():
        (folder / "recordings").mkdir()
        for source in sorted((PUBLIC / "vllm-steps").glob("*.parquet")):
            rows = pd.read_parquet(source)
            rows.head(12 * STEPS_KEPT).to_parquet(folder / "recordings" / source.name)
        for source in sorted((PUBLIC / "vidur").glob("*/*/*/mlp.csv")):
            target = folder / "profiles" / source.relative_to(PUBLIC / "vidur")
            target.parent.mkdir(parents=True)
            rows = pd.read_csv(source)
            rows[rows["num_tokens"] <= TOKENS_KEPT].to_csv(target, index=False)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, little_data: Path) -> Path:
    """A folder laid out as a checkout, its data small, and the public data where pages name it."""
    root = tmp_path / "checkout"
    (root / "data").mkdir(parents=True)
    shutil.copyfile(little_data / "study.parquet", root / "data" / "study.parquet")
    (root / "examples").symlink_to(ROOT / "examples")
    for name in ("recordings", "profiles"):
        if (little_data / name).exists():
            (root / name).symlink_to(little_data / name)
    return root


@pytest.fixture
def environment() -> Callable[[], dict[str, str]]:
    """What a reader's shell has: gpucv and its Python first on the path, no colours."""

    def made() -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        here = Path(sys.executable).parent
        return {**kept, "PATH": f"{here}:{os.environ['PATH']}", "NO_COLOR": "1"}

    return made
