"""Folds handed to workers, longest first, and taken back from those that are lost.

Every fold is handed to one worker, and only when that worker has room: so no worker ever
runs more folds at once than fit its memory, whatever else it could do, and the longest
fold left goes to whoever is free first. Dask would wait for ever for a worker it was told
to use and that is gone; so this process watches the workers, and hands a lost one's folds
out again. Dask resources would do the first, but tasks that wait for one are not woken when
a restarted worker declares it (`Scheduler.add_resources` schedules nothing).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.folds.cluster.survey import scheduler_lost
from gpucv.folds.cluster.turns import Turns
from gpucv.folds.memory import given_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gpucv.folds.cluster.seats import Cluster, Seat
    from gpucv.folds.task import FoldTask
    from gpucv.runs import FoldRecord, FoldStore

    Work = Callable[[FoldTask, int], Any]
    Begun = Callable[[FoldTask, str], None]

__all__ = ["run_on_cluster"]

_log = logging.getLogger("gpucv.folds")

_POLL_SECONDS = 0.5
_GATHER_SECONDS = 30


def run_on_cluster(
    cluster: Cluster,
    work: Work,
    tasks: Sequence[FoldTask],
    store: FoldStore,
    begun: Begun = lambda task, worker: None,
) -> Iterator[FoldRecord | Any | tuple[FoldTask, BaseException]]:
    """Yield what `work` returns of each fold as it finishes, or the task with what killed it.

    A fold that finds too little memory (`MemoryError`) is tried once more, alone on a worker
    process that has run no fold.

    Parameters
    ----------
    cluster : Cluster
    work : callable (task, attempts)
        Must be importable on the workers; `attempts` is how often the fold was begun.
    tasks : sequence of FoldTask
        In the order in which they are handed out.
    store : FoldStore
        Keeps how often each fold was begun.
    begun : callable (task, worker), optional
        Told of every fold handed out, with the worker's address.

    Raises
    ------
    EnvironmentFaultError
        If the scheduler is lost, or all workers are for long.
    """
    dispatch = _Dispatch(cluster, work, store, Turns(cluster, tasks))
    try:
        while dispatch.turns or dispatch.under_way:
            seats = cluster.seats()
            dispatch.end_overdue(seats)
            yield from dispatch.take_back(seats)
            for task, worker in dispatch.hand_out(seats):
                begun(task, worker)
            yield from dispatch.finished()
    except CancelledError as lost:
        raise scheduler_lost() from lost
    finally:
        cluster.client.cancel(list(dispatch.under_way))


@dataclass(frozen=True, slots=True)
class _Begun:
    task: FoldTask
    address: str
    process: str
    at: float
    alone: bool


class _Dispatch:
    def __init__(self, cluster: Cluster, work: Work, store: FoldStore, turns: Turns) -> None:
        import dask

        self.turns = turns
        self.under_way: dict[Any, _Begun] = {}
        self._cluster, self._client = cluster, cluster.client
        self._work, self._store = work, store
        self._overdue: set[Any] = set()
        self._killed: set[Any] = set()
        self._lost: Counter[int] = Counter()
        self._losses_allowed = int(dask.config.get("distributed.scheduler.allowed-failures"))
        self._short_of_memory: set[int] = set()

    def end_overdue(self, seats: Mapping[str, Seat]) -> None:
        """End the workers of folds that have taken too long."""
        limit, now = self._cluster.fold_timeout_s, time.monotonic()
        if not limit:
            return
        overdue = {
            future: begun.address
            for future, begun in self.under_way.items()
            if now - begun.at > limit and self._is_there(begun, seats) and not future.done()
        }
        if overdue:
            self._overdue |= set(overdue)
            self.turns.end(sorted(set(overdue.values())), seats)

    def take_back(
        self, seats: Mapping[str, Seat]
    ) -> Iterator[FoldRecord | tuple[FoldTask, BaseException]]:
        """Take back the folds of workers that are gone; yield those that are over for it."""
        lost = {
            future: begun
            for future, begun in self.under_way.items()
            if not self._is_there(begun, seats) and (future in self._killed or not future.done())
        }
        overran = {begun.process for future, begun in lost.items() if future in self._overdue}
        for future, begun in lost.items():
            task = self.under_way.pop(future).task
            self._client.cancel([future])
            if published := self._store.read(task.fold_id, task.key):
                yield published  # its last breath
            elif begun.process in overran and future not in self._overdue:
                told = "fold %d shared a worker with one that took too long, and is begun again"
                _log.warning(told, task.fold_id)
                self.turns.again(task)
            else:
                yield from self._count_loss(begun, future in self._overdue)

    def _count_loss(self, begun: _Begun, overdue: bool) -> Iterator[tuple[FoldTask, BaseException]]:
        """Let a fold that cost a worker begin again, or give it up."""
        task = begun.task
        self._lost[task.fold_id] += 1
        if self._lost[task.fold_id] <= self._losses_allowed:
            told = "worker %s was lost under fold %d, which is begun again"
            if overdue:
                told = "worker %s was ended as fold %d took too long, which is begun again"
            _log.warning(told, begun.address, task.fold_id)
            self.turns.again_alone(task)
            return
        were = "worker was" if self._lost[task.fold_id] == 1 else "workers were"
        how = self._cluster.how_lost(begun.process, overdue=overdue)
        told = f"{self._lost[task.fold_id]} {were} lost under it, the last {how}"
        yield task, RuntimeError(told)

    def hand_out(self, seats: Mapping[str, Seat]) -> Iterator[tuple[FoldTask, str]]:
        """Give folds to workers that have room while there is; yield who got which."""
        busy = Counter(begun.address for begun in self.under_way.values())
        taken = {begun.address for begun in self.under_way.values() if begun.alone}
        for task, address, alone in self.turns.share_out(seats, busy, taken):
            future = self._client.submit(
                self._work,
                task,
                self._store.begin(task.fold_id),
                # Two runs of one study may share a scheduler, which runs equal keys once.
                key=f"fold-{secrets.token_hex(8)}-{task.fold_id}",
                pure=False,
                workers=[address],
            )
            process = seats[address].process
            self.under_way[future] = _Begun(task, address, process, time.monotonic(), alone)
            yield task, address

    def finished(self) -> Iterator[Any]:
        """Wait a little for folds to finish; yield the outcomes of those that have."""
        from distributed import KilledWorker, wait

        if not self.under_way:
            time.sleep(_POLL_SECONDS)
            return
        try:
            done = wait(list(self.under_way), _POLL_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return
        for future in done:
            try:
                error = future.exception(timeout=_GATHER_SECONDS)
                outcome = error or future.result(timeout=_GATHER_SECONDS)
            except TimeoutError:
                continue  # its worker was lost just now, and the outcome with it
            if isinstance(error, KilledWorker):
                self._killed.add(future)  # Dask saw it first; `take_back` knows what to do
                continue
            begun = self.under_way.pop(future)
            if isinstance(error, MemoryError):
                yield from self._short(begun, error)
            else:
                yield (begun.task, error) if error else outcome

    def _short(self, begun: _Begun, error: MemoryError) -> Iterator[tuple[FoldTask, BaseException]]:
        """Let a fold that found too little memory begin once more, or give it up."""
        task = begun.task
        if task.fold_id in self._short_of_memory:
            yield task, given_up(task, error, f"worker {begun.address}")
            return
        told = "memory ran out under fold %d, which is tried once more, alone on a fresh worker"
        _log.warning(told, task.fold_id)
        self._short_of_memory.add(task.fold_id)
        self.turns.again_alone(task, fresh=True)

    def _is_there(self, begun: _Begun, seats: Mapping[str, Seat]) -> bool:
        """Say whether the process a fold was handed to is still there, and not told to end."""
        seat = seats.get(begun.address)
        same = seat is not None and seat.process == begun.process
        return same and begun.process not in self.turns.ended
