"""Placements on machines that are not here: nothing of them is needed to plan for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.folds import Resources, TableShape, place, plan_folds, trained
from gpucv.folds.capacity import CUDA_CONTEXT, PROCESS, gpu_need, host_need, table_bytes
from gpucv.folds.plan import assign, worker_count
from gpucv.folds.resources import WorkerFacts
from gpucv.machine import Gpu, ResolvedDevice
from gpucv.study import ExecutionSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask, Placement
    from gpucv.study import LoadedStudy

    Folds = Callable[..., list[FoldTask]]

GIB = 2**30
CPU = ResolvedDevice("cpu", "asked for")
STUDY = TableShape(122_752, 30)


def gpus(count: int, free: float = 79 * GIB) -> tuple[Gpu, ...]:
    return tuple(Gpu(n, f"GPU-{n}", "NVIDIA H100", 80 * GIB, int(free)) for n in range(count))


def machine(
    cores: int = 4, memory: float = 64 * GIB, cards: Sequence[Gpu] = (), disk: float = 0
) -> Resources:
    facts = WorkerFacts("", "here", cores, 0, int(memory), tuple(cards), disk_bytes=int(disk))
    return Resources((facts,))


def cluster(*workers: WorkerFacts) -> Resources:
    return Resources(workers, "tcp://10.0.0.1:8786")


def worker(host: str, slots: int, memory: float = 64 * GIB, cards: int = 0) -> WorkerFacts:
    return WorkerFacts(f"{host}-{slots}", host, 16, slots, int(memory), gpus(cards))


@pytest.fixture
def folds(tasks: tuple[FoldTask, ...]) -> Folds:
    """Return folds of so many training rows each."""

    def make(*rows: int, **predictor: Any) -> list[FoldTask]:
        spec = tasks[0].predictor.model_copy(update=predictor)
        return [
            replace(tasks[0], fold_id=number, n_train=each, n_test=each // 4, predictor=spec)
            for number, each in enumerate(rows)
        ]

    return make


def on_gpus(
    tasks: list[FoldTask], shape: TableShape, cards: Sequence[Gpu], **execution: Any
) -> Placement:
    return place(
        tasks,
        shape,
        ExecutionSpec(**execution),
        machine(32, 512 * GIB, cards),
        ResolvedDevice("cuda", "found", tuple(cards)),
    )


@pytest.mark.fault(43)
@pytest.mark.parametrize("n_folds", [1, 2, 3, 8])
@pytest.mark.parametrize("cores", [1, 4, 16])
@pytest.mark.parametrize("settings", [{}, {"workers": 3}, {"threads_per_fold": 2}])
def test_folds_on_cpus_share_the_cores_as_they_did_before_memory_was_looked_at(
    n_folds: int, cores: int, settings: dict[str, int], folds: Folds
) -> None:
    tasks, execution = folds(*[1000] * n_folds), ExecutionSpec(**settings)
    placement = place(tasks, STUDY, execution, machine(cores), CPU)
    assert (placement.backend, placement.processes, placement.training) == (
        *("threads", 1, "in-memory"),
    )
    assert placement.at_once == worker_count(execution, tasks, cores)
    assert {placement.threads_per_fold} == {t.threads for t in assign(tasks, execution, cores)}


@pytest.mark.fault(43)
@pytest.mark.parametrize("backend", ["threads", "dask"])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, ""),
        ({"workers": 2, "threads_per_fold": 2}, ""),
        ({"threads_per_fold": 3}, "lower execution.threads_per_fold = 3"),
        ({"workers": 8}, "lower execution.workers = 8"),
        (
            {"workers": 4, "threads_per_fold": 2},
            "4 folds of 2 threads each are asked for on 4 cores, and will wait for each other; "
            "lower execution.workers = 4, execution.threads_per_fold = 2",
        ),
    ],
)
def test_more_threads_than_cores_are_warned_of_where_they_are_asked_for(
    settings: dict[str, int],
    told: str,
    backend: str,
    folds: Folds,
    caplog: pytest.LogCaptureFixture,
) -> None:
    execution = ExecutionSpec(backend=backend, **settings)  # type: ignore[arg-type]
    place(folds(*[1000] * 8), STUDY, execution, machine(4), CPU)
    assert told in caplog.text
    assert bool(caplog.text) is bool(told)


def test_fewer_folds_run_at_once_where_memory_holds_no_more(folds: Folds) -> None:
    tasks, shape = folds(*[10**7] * 8), TableShape(13 * 10**6, 30)
    one, table = host_need(tasks[0], shape), table_bytes(shape)
    room = (table + 2.5 * one) / 0.9
    placement = place(tasks, shape, ExecutionSpec(), machine(4, room), CPU)
    assert (placement.at_once, placement.threads_per_fold) == (2, 2)
    assert placement.at_once_bytes <= placement.memory_bytes == pytest.approx(0.9 * room, abs=1)
    assert "2 folds at once on this machine: memory holds no more, cores allow 4" in placement.why


def test_one_large_fold_beside_small_ones_takes_little_from_them(folds: Folds) -> None:
    tasks, shape = folds(10**7, *[1000] * 7), TableShape(13 * 10**6, 30)
    room = (table_bytes(shape) + 1.2 * host_need(tasks[0], shape)) / 0.9
    assert place(tasks, shape, ExecutionSpec(), machine(4, room), CPU).at_once == 4


def test_free_memory_counts_rather_than_what_is_built_in(folds: Folds) -> None:
    here = replace(machine(memory=64 * GIB).workers[0], free_bytes=GIB)
    placement = place(folds(1000), STUDY, ExecutionSpec(), Resources((here,)), CPU)
    assert placement.memory_bytes == int(0.9 * GIB)


def test_unknown_memory_refuses_nothing(folds: Folds) -> None:
    placement = place(folds(10**9), TableShape(10**9, 30), ExecutionSpec(), machine(4, 0), CPU)
    assert (placement.training, placement.memory_bytes) == ("in-memory", 0)


def test_worker_processes_hold_a_table_each(folds: Folds) -> None:
    tasks, execution = folds(*[1000] * 4), ExecutionSpec(backend="dask")
    shape = TableShape(10**7, 30)
    placement = place(tasks, shape, execution, machine(), CPU)
    assert (placement.backend, placement.processes, placement.folds_per_process) == ("dask", 4, 1)
    table = table_bytes(shape)
    room = (table + 2.5 * (table + PROCESS)) / 0.9
    smaller = place(tasks, shape, execution, machine(4, room), CPU)
    assert (smaller.processes, smaller.threads_per_fold) == (2, 2)


def test_a_fold_too_large_for_memory_is_paged_from_a_disk_that_holds_it(folds: Folds) -> None:
    tasks, shape = folds(10**8), TableShape(13 * 10**7, 30)
    memory = table_bytes(shape) + 16 * GIB
    paged = place(tasks, shape, ExecutionSpec(), machine(4, memory, disk=900 * GIB), CPU)
    assert paged.training == "external-memory"
    assert "but only" in paged.why[1]
    with pytest.raises(EnvironmentFaultError, match=r"fits in no way: .* of disk, but only 1.0 G"):
        place(tasks, shape, ExecutionSpec(), machine(4, memory, disk=GIB), CPU)


def test_one_gpu_is_shared_by_threads_and_several_by_processes(folds: Folds) -> None:
    tasks = folds(*[92_000] * 8)
    one = on_gpus(tasks, STUDY, gpus(1))
    assert (one.backend, one.processes, one.folds_per_process) == ("threads", 1, 4)
    four = on_gpus(tasks, STUDY, gpus(4))
    assert (four.backend, four.processes, four.folds_per_process) == ("dask", 4, 2)
    assert on_gpus(tasks, STUDY, gpus(4), backend="threads").processes == 1
    assert on_gpus(tasks, STUDY, gpus(1), backend="dask").backend == "dask"


def test_no_more_gpus_are_taken_than_there_are_folds(folds: Folds) -> None:
    assert on_gpus(folds(1000), STUDY, gpus(8)).backend == "threads"
    assert on_gpus(folds(1000, 1000), STUDY, gpus(8)).processes == 2


@pytest.mark.parametrize(("rows", "at_once"), [(299_999, 4), (300_000, 2), (3_000_000, 1)])
def test_large_folds_overlap_less_on_a_gpu(rows: int, at_once: int, folds: Folds) -> None:
    placement = on_gpus(folds(*[rows] * 8), TableShape(rows * 2, 30), gpus(1))
    assert placement.folds_per_process == at_once
    assert "not yet measured on a GPU" in placement.why[-1]


def test_a_small_gpu_takes_the_folds_its_memory_holds(folds: Folds) -> None:
    tasks, shape = folds(*[250_000] * 8), TableShape(330_000, 30)
    need = gpu_need(tasks[0], shape)
    held = table_bytes(shape, "cuda") + need.building + 2.5 * need.kept
    small = on_gpus(tasks, shape, gpus(1, free=held / 0.9 + CUDA_CONTEXT))
    assert small.folds_per_process == 2
    assert small.at_once_bytes <= small.memory_bytes
    assert "memory holds 2" in small.why[-1]


def test_folds_per_gpu_are_obeyed_and_refused_where_they_cannot_fit(folds: Folds) -> None:
    tasks = folds(*[92_000] * 16)
    assert on_gpus(tasks, STUDY, gpus(1), folds_per_gpu=8).folds_per_process == 8
    assert on_gpus(tasks, STUDY, gpus(8), folds_per_gpu=8).folds_per_process == 2
    message = r"folds_per_gpu = 8 takes [\d.]+ (M|G)iB of a GPU \(16 MiB table, .* are free; lower"
    with pytest.raises(EnvironmentFaultError, match=message):
        on_gpus(tasks, STUDY, gpus(1, free=0.8 * GIB), folds_per_gpu=8)


def test_a_fold_larger_than_a_gpu_is_trained_on_all_or_from_the_memory_of_the_host(
    folds: Folds,
) -> None:
    tasks, shape = folds(10**9), TableShape(13 * 10**8, 30)
    plenty = machine(64, 2000 * GIB, gpus(8))
    device = ResolvedDevice("cuda", "found", gpus(8))
    spread = place(tasks, shape, ExecutionSpec(), plenty, device)
    assert (spread.training, spread.backend, spread.processes, spread.at_once) == (
        *("distributed", "dask", 8, 1),
    )
    one = ResolvedDevice("cuda", "found", gpus(1, free=79 * GIB))
    shape, tasks = TableShape(8 * 10**8, 60), folds(7 * 10**8)
    paged = place(tasks, shape, ExecutionSpec(), machine(64, 400 * GIB, one.gpus), one)
    assert (paged.training, paged.backend, paged.folds_per_process) == (
        *("external-memory", "threads", 1),
    )
    with pytest.raises(EnvironmentFaultError, match="distributed it takes several workers, and"):
        place(tasks, shape, ExecutionSpec(), machine(64, 200 * GIB, one.gpus), one)


def test_a_gpu_that_others_have_filled_is_no_gpu_of_unknown_size(folds: Folds) -> None:
    with pytest.raises(EnvironmentFaultError, match="but only 0 MiB are free"):
        on_gpus(folds(92_000), STUDY, gpus(1, free=100 * 2**20), training="in-memory")


def test_who_cannot_be_trained_otherwise_is_named(folds: Folds) -> None:
    shape = TableShape(13 * 10**7, 30)
    trees = folds(10**8)
    ridge = folds(10**8, name="ridge", params={})
    with pytest.raises(EnvironmentFaultError, match="external-memory does not suit ridge"):
        place([*trees, *ridge], shape, ExecutionSpec(), machine(4, 30 * GIB), CPU)
    asked = ExecutionSpec(training="external-memory")
    with pytest.raises(StudyError, match=r"predictor 'ridge' cannot be trained external-memory"):
        place([*trees, *ridge], shape, asked, machine(4, 900 * GIB), CPU)


def test_training_asked_for_is_obeyed_or_refused_with_the_arithmetic(folds: Folds) -> None:
    tasks = folds(*[92_000] * 8)
    paged = ExecutionSpec(training="external-memory")
    assert place(tasks, STUDY, paged, machine(), CPU).training == "external-memory"
    spread = ExecutionSpec(training="distributed", backend="dask")
    placement = place(tasks, STUDY, spread, machine(), CPU)
    assert (placement.training, placement.processes, placement.at_once) == ("distributed", 4, 1)
    assert on_gpus(tasks, STUDY, gpus(8), training="distributed").processes == 8
    with pytest.raises(EnvironmentFaultError, match=r"here is no Dask worker .*backend = 'dask'"):
        place(tasks, STUDY, ExecutionSpec(training="distributed"), machine(), CPU)
    whole = ExecutionSpec(training="in-memory")
    with pytest.raises(EnvironmentFaultError, match=r"takes 42 MiB .* but only 50 MiB are free"):
        place(tasks[:1], STUDY, whole, machine(memory=50 * 2**20), CPU)


def test_workers_of_a_cluster_share_their_host_and_keep_their_slots(folds: Folds) -> None:
    tasks = folds(*[92_000] * 16)
    pair = cluster(worker("a", 4), worker("a", 4), worker("b", 4))
    placement = place(tasks, STUDY, ExecutionSpec(scheduler="tcp://x:1"), pair, CPU)
    assert (placement.backend, placement.processes, placement.folds_per_process) == ("dask", 3, 4)
    assert placement.threads_per_fold == 2  # 16 cores of host a for two workers of four
    assert placement.memory_bytes == int(0.9 * 32 * GIB)


def test_only_workers_with_a_gpu_take_folds_of_one(folds: Folds) -> None:
    mixed = cluster(worker("a", 2, cards=1), worker("b", 2, cards=1), worker("c", 8))
    device = ResolvedDevice("cuda", "found", mixed.gpus)
    placement = place(folds(*[92_000] * 8), STUDY, ExecutionSpec(), mixed, device)
    assert (placement.processes, placement.folds_per_process) == (2, 2)
    assert "1 without a GPU stay idle" in placement.why[0]


def test_workers_that_share_a_gpu_share_its_memory_and_train_no_fold_together(
    folds: Folds,
) -> None:
    pair = cluster(worker("a", 2, cards=1), worker("a", 2, cards=1))
    device = ResolvedDevice("cuda", "found", pair.gpus)
    placement = place(folds(*[92_000] * 8), STUDY, ExecutionSpec(), pair, device)
    assert placement.memory_bytes == int(0.9 * (79 * GIB // 2 - CUDA_CONTEXT))
    together = ExecutionSpec(training="distributed")
    with pytest.raises(EnvironmentFaultError, match="share a GPU, as 2 do here"):
        place(folds(92_000), STUDY, together, pair, device)


def test_parts_of_a_gpu_train_no_fold_together(folds: Folds) -> None:
    parts = [replace(gpu, uuid=f"MIG-{gpu.index}", mig=True) for gpu in gpus(2)]
    assert on_gpus(folds(*[92_000] * 8), STUDY, parts).processes == 2
    with pytest.raises(EnvironmentFaultError, match=r"NCCL does not join parts of a GPU \(MIG\)"):
        on_gpus(folds(92_000), STUDY, parts, training="distributed")


def test_every_decision_says_why_with_its_numbers(folds: Folds) -> None:
    placement = on_gpus(folds(*[92_000] * 8), STUDY, gpus(4))
    assert len(placement.why) == 3
    assert all(any(letter.isdigit() for letter in reason) for reason in placement.why)
    said = placement.to_json()
    assert said["at_once"] == 8
    assert said["why"] == list(placement.why)


def test_training_other_than_in_memory_is_part_of_every_key(
    loaded: Callable[..., LoadedStudy], table: FeatureTable
) -> None:
    plan = plan_folds(loaded().study, table)
    assert trained(plan, table, "in-memory") == tuple(plan)
    paged = trained(plan, table, "external-memory")
    assert {task.training for task in paged} == {"external-memory"}
    assert not {task.key for task in plan} & {task.key for task in paged}
