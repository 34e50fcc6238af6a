"""All 8 folds of a sample of the embedded study, to the bit, wherever they run."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.folds import RunRequest, run_fold, run_folds
from gpucv.folds.sharing import shared_table
from gpucv.predictors import cuts
from gpucv.study import load_study
from gpucv.workflow import prepare
from gpucv.workflow.execution import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.workflow.preparation import PreparedStudy

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "h3-generalization.toml"
SMALL = ("data.audit=off", "predictors.0.params.n_estimators=12")
VARIANTS = {
    "exact cuts": (),
    "shared cuts": ("predictors.0.params.cuts=shared",),
    "curve": ("validation.evaluate=curve",),
}
WAYS: dict[str, tuple[str, ...]] = {
    **{f"{count} threads": (f"execution.workers={count}",) for count in (1, 2, 4, 8)},
    "threads of their own": ("execution.workers=2", "execution.threads_per_fold=3"),
    "processes": ("execution.backend=dask", "execution.workers=2"),
    "threads of a scheduler": (),
}
Bits = dict[str, tuple[bytes, bytes]]


def prepared(*overrides: str) -> PreparedStudy:
    return prepare(load_study(EXAMPLE, (*SMALL, *overrides)), limit=150)


@pytest.fixture(scope="module", params=VARIANTS)
def serial(request: pytest.FixtureRequest) -> tuple[tuple[str, ...], Bits]:
    """The folds run in this very thread, one after another, without the runner."""
    variant = VARIANTS[request.param]
    study = prepared(*variant)
    found = {}
    with shared_table(study.table):
        for task in study.tasks:
            record, arrays = run_fold(replace(task, threads=1))
            assert arrays is not None, record.error
            assert bool(record.learning_curve) == ("curve" in request.param)
            found[task.key] = arrays.predicted.tobytes(), arrays.model or b""
    return variant, found


@contextlib.contextmanager
def scheduler() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=4,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("way", WAYS)
def test_eight_folds_of_eight_have_the_bits_of_folds_run_in_turn(
    way: str, serial: tuple[tuple[str, ...], Bits], tmp_path: Path
) -> None:
    variant, expected = serial
    cuts._made.clear()  # whoever runs them sketches anew
    with contextlib.ExitStack() as stack:
        where = WAYS[way]
        if way == "threads of a scheduler":
            where = (f"execution.scheduler={stack.enter_context(scheduler())}",)
        study = prepared(*variant, *where)
        (tmp_path / "folds").mkdir()
        request = RunRequest(
            tmp_path, study.tasks, study.study.execution, placement=study.placement
        )
        records = run_folds(request, study.table, Silent())
    found = {}
    for record in records:
        assert record.status == "ok", record.error
        folder = tmp_path / "folds" / f"{record.fold_id:04d}"
        predicted = pd.read_parquet(folder / "predictions.parquet")["predicted"].to_numpy()
        found[record.key] = predicted.tobytes(), (folder / "model.ubj").read_bytes()
    assert len(found) == 8
    assert found == expected


def test_a_curve_changes_no_bit_of_a_prediction_and_shared_cuts_do() -> None:
    bits = []
    for variant in VARIANTS.values():
        study = prepared(*variant)
        with shared_table(study.table):
            _, arrays = run_fold(study.tasks[0])
        assert arrays is not None
        bits.append(arrays.predicted.tobytes())
    exact, shared, curve = bits
    assert curve == exact
    assert shared != exact
