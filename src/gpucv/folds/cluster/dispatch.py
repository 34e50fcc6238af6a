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
from collections import Counter, deque
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.folds.cluster.survey import scheduler_lost

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
    dispatch = _Dispatch(cluster, work, store, deque(tasks))
    try:
        while dispatch.waiting or dispatch.under_way:
            seats = cluster.seats()
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


class _Dispatch:
    def __init__(
        self, cluster: Cluster, work: Work, store: FoldStore, waiting: deque[FoldTask]
    ) -> None:
        import dask

        self.waiting = waiting
        self.under_way: dict[Any, _Begun] = {}
        self._client, self._work, self._store = cluster.client, work, store
        self._lost: Counter[int] = Counter()
        self._losses_allowed = int(dask.config.get("distributed.scheduler.allowed-failures"))

    def take_back(
        self, seats: Mapping[str, Seat]
    ) -> Iterator[FoldRecord | tuple[FoldTask, BaseException]]:
        """Take back the folds of workers that are gone; yield those that are over for it."""
        for future, begun in list(self.under_way.items()):
            seat = seats.get(begun.address)
            if future.done() or (seat and seat.process == begun.process):
                continue
            task = self.under_way.pop(future).task
            self._client.cancel([future])
            self._lost[task.fold_id] += 1
            if published := self._store.read(task.fold_id, task.key):
                yield published  # its last breath
            elif self._lost[task.fold_id] > self._losses_allowed:
                told = f"{self._lost[task.fold_id]} workers were lost under it; out of memory?"
                yield task, RuntimeError(told)
            else:
                self.waiting.appendleft(task)
                told = "worker %s was lost under fold %d, which is begun again"
                _log.warning(told, begun.address, task.fold_id)

    def hand_out(self, seats: Mapping[str, Seat]) -> Iterator[tuple[FoldTask, str]]:
        """Give the longest folds to the workers with most room while there is; yield who got."""
        busy = Counter(begun.address for begun in self.under_way.values())
        room = {at: seat.slots - busy[at] for at, seat in seats.items() if seat.open}
        while self.waiting and room and max(room.values()) > 0:
            address = max(room, key=room.__getitem__)
            room[address] -= 1
            task = self.waiting.popleft()
            future = self._client.submit(
                self._work,
                task,
                self._store.begin(task.fold_id),
                # Two runs of one study may share a scheduler, which runs equal keys once.
                key=f"fold-{secrets.token_hex(8)}-{task.fold_id}",
                pure=False,
                workers=[address],
            )
            self.under_way[future] = _Begun(task, address, seats[address].process)
            yield task, address

    def finished(self) -> Iterator[Any]:
        """Wait a little for folds to finish; yield the outcomes of those that have."""
        from distributed import wait

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
            task = self.under_way.pop(future).task
            yield (task, error) if error else outcome
