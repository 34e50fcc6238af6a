from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.machine import count_gpus

if TYPE_CHECKING:
    from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("GPUCV_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no public data at {folder}; set GPUCV_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def few_steps() -> pd.DataFrame:
    """Two models x two workloads, 40 steps each, of the embedded study."""
    whole = pd.read_parquet(REPOSITORY / "data" / "study.parquet")
    kept = whole["model"].isin(["codellama-34b", "llama-2-7b"])
    kept &= whole["workload"].isin(["general", "codegen"])
    return whole[kept].groupby("experiment_id").head(40).reset_index(drop=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu",
        action="store_true",
        help="fail, rather than skip, tests marked gpu where there is no GPU",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None or count_gpus():
        return
    if item.config.getoption("--require-gpu"):
        pytest.fail("no NVIDIA GPU on this machine, and --require-gpu asks for one", pytrace=False)
    pytest.skip("no NVIDIA GPU on this machine")


def double(name: str) -> ModuleType:
    """Load tests/doubles/NAME.py."""
    path = REPOSITORY / "tests" / "doubles" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"doubles_{name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu_doubles(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """CuPy, cuDF and XGBoost's side of a GPU stood in for; what crossed is in `crossings`."""
    strict, frames = double("strict_cupy"), double("host_cudf")
    monkeypatch.setitem(sys.modules, "cupy", strict.module())
    monkeypatch.setitem(sys.modules, "cudf", frames.module())
    boundary = double("host_xgboost").Boundary(monkeypatch)
    return SimpleNamespace(cupy=sys.modules["cupy"], crossings=strict.crossings, xgboost=boundary)
