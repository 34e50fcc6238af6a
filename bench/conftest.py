"""What the suites measure: workloads by size and device; and their results in gpucv's form.

``--sizes 1e4,1e6`` chooses the sizes. Beside the table of pytest-benchmark, every round is
written to ``bench/results/<machine>/suites-<UTC>.json``, which `gpucv compare` reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.benchmark import Sample, new_result, write_result
from gpucv.benchmark.phases import wait_for
from gpucv.benchmark.sweep import parse_rows
from gpucv.benchmark.workload import Workload, build, draw_steps, simulate_steps
from gpucv.machine import visible_gpus

if TYPE_CHECKING:
    from gpucv.features import FeatureTable

__all__: list[str] = []

RESULTS = Path(__file__).resolve().parent / "results"
FEATURES, ROUNDS, FOLDS = 30, 20, 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the sizes, and where results go."""
    group = parser.getgroup("gpucv")
    group.addoption("--sizes", default="1e4,1e5", help="rows of the tables: 1e4,1e6")
    group.addoption("--results", default=str(RESULTS), help="folder of results")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a suite at every size, on the CPU and, where there is one, on the GPU."""
    if "workload" not in metafunc.fixturenames:
        return
    sizes = parse_rows([metafunc.config.getoption("--sizes")])
    devices = ["cpu", *(["cuda"] if visible_gpus() else [])]
    workloads = [
        pytest.param(Workload(rows, FEATURES, ROUNDS, FOLDS, device), id=f"{rows}-{device}")
        for rows in sizes
        for device in devices
    ]
    metafunc.parametrize("workload", workloads, scope="session")


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulate the steps that every table is drawn from."""
    path = tmp_path_factory.mktemp("steps") / "steps.parquet"
    simulate_steps(path)
    return path


@pytest.fixture(scope="session")
def table(workload: Workload, steps: Path) -> FeatureTable:
    """Make a workload's table, with its features."""
    return build(draw_steps(steps, workload), workload)


@pytest.fixture
def rounds(benchmark: Any, workload: Workload) -> Any:
    """Time a callable in five rounds after one that counts nowhere, the device waited for."""

    def measured(work: Any) -> Any:
        def whole() -> Any:
            made = work()
            wait_for(workload.device)
            return made

        return benchmark.pedantic(whole, rounds=5, warmup_rounds=1)

    return measured


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write every round of every suite, a file per device."""
    measured = getattr(session.config, "_benchmarksession", None)
    runs = [] if measured is None else [each for each in measured.benchmarks if each.stats.data]
    if not runs:
        return
    sizes = parse_rows([session.config.getoption("--sizes")])
    settings = {"rows": sizes, "features": FEATURES, "rounds": ROUNDS, "folds": FOLDS}
    for device in ("cpu", "cuda"):
        samples = [
            Sample(each.name, repeat, 0, wall_s=seconds)
            for each in runs
            if each.name.endswith(f"-{device}]")
            for repeat, seconds in enumerate(each.stats.data)
        ]
        if samples:
            result = new_result("suites", device, settings, tuple(samples))
            print(f"\nresults  {write_result(result, Path(session.config.getoption('--results')))}")
