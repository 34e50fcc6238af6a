from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import (
    DeviceUnavailableError,
    EnvironmentFaultError,
    SplitError,
    StudyError,
    TraceError,
)
from gpucv.machine import Gpu, ResolvedDevice
from gpucv.study import study_from_dict
from gpucv.workflow import preparation, prepare, start
from gpucv.workflow.execution import Silent
from gpucv.workflow.preparation import locate_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import SimpleNamespace

    import pandas as pd

    from gpucv.workflow import PreparedStudy

    Prepare = Callable[..., PreparedStudy]


@pytest.fixture
def prepared(study: dict[str, Any], tmp_path: Path) -> Prepare:
    """Prepare the study with changes to its data section, or to other sections."""

    def start(limit: int | None = None, data: dict[str, Any] | None = None, **more: Any) -> Any:
        raw = {**study, "data": {**study["data"], **(data or {})}, **more}
        return prepare(study_from_dict(raw, base=tmp_path), limit)

    return start


def located(pattern: str, base: Path) -> str:
    loaded = study_from_dict({"data": {"steps": [pattern]}}, base=base)
    return locate_steps(loaded).study.data.steps[0]


def test_steps_are_looked_for_beside_the_study_then_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("beside", "current"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "both.csv").touch()
    (tmp_path / "current" / "one.csv").touch()
    monkeypatch.chdir(tmp_path / "current")
    beside = tmp_path / "beside"
    assert located("both.csv", beside) == str(beside / "both.csv")
    assert located("one.csv", beside) == str(tmp_path / "current" / "one.csv")
    assert located("o*.csv", beside) == str(tmp_path / "current" / "o*.csv")
    assert located("../beside/both.csv", beside) == str(beside / "both.csv")
    assert located(str(beside / "gone.csv"), beside) == str(beside / "gone.csv")


def test_both_places_are_named_where_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    with pytest.raises(StudyError, match=rf"'x.csv' in {tmp_path} .*or in {tmp_path}/current"):
        located("x.csv", tmp_path)


@pytest.mark.parametrize(
    "pattern", ["", "  ", "a**b", "nul\0byte", "~nobody-of-that-name/x", "[z-a]"]
)
def test_a_pattern_that_means_nothing_is_refused(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data\.steps"):
        located(pattern, tmp_path)


def test_a_study_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data\.steps is empty"):
        prepare(study_from_dict({}, base=tmp_path))


def test_a_limit_keeps_the_first_steps_of_every_experiment(
    prepared: Prepare, few_steps: pd.DataFrame
) -> None:
    table = prepared(limit=3).table
    first = few_steps.sort_values("step.id").groupby("experiment_id")["step.id"].head(3)
    assert sorted(table.step_id) == sorted(first)


def test_row_order_in_the_file_changes_nothing(
    prepared: Prepare, few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    before = prepared().origin()
    few_steps.sample(frac=1, random_state=1).to_parquet(tmp_path / "steps.parquet")
    after = prepared().origin()
    assert before["data_fingerprint"] == after["data_fingerprint"]
    assert before["data"] != after["data"]


def test_constants_fill_columns_the_data_lacks(
    prepared: Prepare, few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.drop(columns="gpu").to_parquet(tmp_path / "steps.parquet")
    assumed = prepared()
    assert [note.code for note in assumed.notes if note.code == "gpu_assumed"]
    named = prepared(data={"constants": {"gpu": "h100"}})
    assert not [note.code for note in named.notes if note.code == "gpu_assumed"]
    assert assumed.table.fingerprint == named.table.fingerprint


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("step.duration_us", -1, "negative step.duration_us"),
        ("step.duration_us", None, "missing step.duration_us"),
        ("model", None, "missing model"),
        ("step.id", 0, "repeated experiment_id"),
    ],
)
def test_bad_rows_stop_a_study_or_are_dropped_and_counted(
    column: str,
    value: object,
    message: str,
    prepared: Prepare,
    few_steps: pd.DataFrame,
    tmp_path: Path,
) -> None:
    broken = few_steps.copy()
    if column == "step.id":
        broken.loc[1, column] = broken.loc[0, column]
    else:
        broken[column] = broken[column].astype(object if column == "model" else "float64")
        broken.loc[1, column] = value
    broken.to_parquet(tmp_path / "steps.parquet")
    with pytest.raises(TraceError, match=f"1 of 160 rows cannot be used: 1 with {message}"):
        prepared()
    dropped = prepared(data={"bad_rows": "drop"})
    assert len(dropped.table) == 159
    assert [note.count for note in dropped.notes if note.code.startswith("dropped_")] == [1]


def test_zero_targets_train_and_are_noted(
    prepared: Prepare, few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.assign(**{"step.duration_us": [0, *few_steps["step.duration_us"][1:]]}).to_parquet(
        tmp_path / "steps.parquet"
    )
    found = prepared()
    assert len(found.table) == 160
    (note,) = [note for note in found.notes if note.code == "zero_target"]
    assert note.count == 1


def test_groups_that_cannot_be_held_out_are_named_before_features_are_computed(
    prepared: Prepare,
) -> None:
    with pytest.raises(SplitError, match="the data has 2: 'codegen', 'general'"):
        prepared(schemes=[{"name": "lowo", "hold_out": "workload", "p": 2}])


def test_what_there_is_to_run_on_is_asked_before_data_is_read(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "steps.parquet").unlink()
    for execution in ({"device": "cuda"}, {"device": "cuda:3"}):
        with pytest.raises(DeviceUnavailableError):
            prepared(execution=execution)
    with pytest.raises(StudyError, match="no such file"):
        prepared()


def test_a_study_is_placed_and_says_what_it_was_placed_on(prepared: Prepare) -> None:
    found = prepared(execution={"workers": 2})
    assert (found.placement.at_once, found.placement.training) == (2, "in-memory")
    assert found.resources.workers[0].free_bytes >= found.placement.memory_bytes
    assert found.placement.fold_bytes > found.placement.table_bytes > 0
    assert {task.training for task in found.tasks} == {"in-memory"}


def test_training_is_chosen_before_folds_get_their_keys(prepared: Prepare) -> None:
    whole, paged = prepared(), prepared(execution={"training": "external-memory"})
    assert paged.placement.training == "external-memory"
    assert {task.training for task in paged.tasks} == {"external-memory"}
    assert not {task.key for task in whole.tasks} & {task.key for task in paged.tasks}


def test_a_study_that_no_memory_holds_is_refused_with_the_arithmetic(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpucv.folds import resources

    monkeypatch.setattr(resources, "free_memory_bytes", lambda: 2**20)
    with pytest.raises(EnvironmentFaultError, match=r"fits in no way: .* but only 1 MiB are free"):
        prepared()


@pytest.fixture
def with_gpus(gpu_doubles: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a study find so many GPUs on this machine; doubles stand for their libraries."""
    del gpu_doubles

    def found(count: int) -> None:
        gpus = tuple(Gpu(at, f"GPU-{at}", "H100", 80 * 2**30, 79 * 2**30) for at in range(count))
        there = ResolvedDevice("cuda", "found", gpus)
        monkeypatch.setattr(preparation, "resolve_device", lambda *_: there)

    return found


@pytest.mark.parametrize("gpus", [1, 2])
def test_the_gpu_is_left_to_the_workers_where_these_have_it(
    prepared: Prepare,
    with_gpus: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
) -> None:
    from gpucv.frames import gpu

    given: list[bool] = []
    monkeypatch.setattr(gpu, "give_back", lambda: given.append(True))
    with_gpus(gpus)
    found = prepared()
    assert found.placement.backend == ("threads" if gpus == 1 else "dask")
    assert (found.table.device is None, given) == ((False, []) if gpus == 1 else (True, [True]))


def test_a_gpu_that_fails_at_the_features_is_told_in_one_line(
    prepared: Prepare, with_gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CuPy failed to load libnvrtc.so.13: OSError: no such file")

    with_gpus(1)
    monkeypatch.setattr(preparation, "build_table", fail)
    told = "cannot be computed on the GPU: CuPy failed to load libnvrtc.so.13: .*gpucv doctor"
    with pytest.raises(EnvironmentFaultError, match=told):
        prepared()


def test_a_prepared_study_that_has_run_is_not_run_again_without_its_rows(
    prepared: Prepare, tmp_path: Path
) -> None:
    ready = prepared()
    start(ready, out=tmp_path / "once", progress=Silent())
    with pytest.raises(StudyError, match="prepare it again"):
        start(ready, out=tmp_path / "twice", progress=Silent())
    assert not (tmp_path / "twice").exists()
