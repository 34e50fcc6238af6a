"""Folds trained by all workers together, one fold after another.

For folds larger than any worker's memory. Every worker opens the table itself and takes one
stretch of the fold's training rows (`gpucv.predictors.distributed`, which says what such training
is and needs of the network); the first also predicts, scores and leaves the results where
other folds leave theirs. So nothing big passes the scheduler.

XGBoost's own Dask interface is not used: it keeps the rows of a part in the worker beside
what it bins them to, five bytes of a GPU for every one, and wants them made into Dask arrays;
and its tracker runs in the scheduler, which then needs XGBoost as well. What it guards
against is guarded against here: a part is given to one worker by name; a lost worker ends
the attempt, and is not waited for; and of two runs on one scheduler only one trains at a
time, since parts of both on some workers would wait for each other for ever.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from concurrent.futures import CancelledError
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.cluster.survey import scheduler_lost
from gpucv.folds.memory import given_up
from gpucv.predictors.distributed import Share, close_tracker, open_tracker
from gpucv.runs import FoldRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gpucv.folds.cluster.seats import Cluster, Seat
    from gpucv.folds.task import FoldTask
    from gpucv.runs import FoldStore

    Work = Callable[..., Any]
    Begun = Callable[[FoldTask, str], None]

__all__ = ["run_together"]

_log = logging.getLogger("gpucv.folds")

LOSSES_ALLOWED = 3
"""Workers a fold may lose, one attempt each, before it counts as failed: Dask's own number."""
RETURN_SECONDS = 30
"""How long a lost worker is waited for: with as many as before, results are the same bits."""
GRACE_SECONDS = 120
"""How long the other parts may take to notice that one is lost, before they are ended."""
OPEN_PORTS = (
    "while workers train together, XGBoost listens on every network of their hosts, unencrypted: "
    "whoever connects can stop the run or falsify its sums; let a firewall keep others out"
)
_POLL_SECONDS = 0.5
_GATHER_SECONDS = 30


def run_together(
    cluster: Cluster,
    work: Work,
    tasks: Sequence[FoldTask],
    store: FoldStore,
    begun: Begun = lambda task, worker: None,
) -> Iterator[FoldRecord | Any | tuple[FoldTask, BaseException]]:
    """Yield what the first worker returns of each fold, or the task with what killed it.

    Parameters
    ----------
    cluster : Cluster
    work : callable (task, attempts, share=)
        Must be importable on the workers, and publish a fold only if the share is the first
        and the fold has succeeded; it returns its record otherwise.
    tasks : sequence of FoldTask
    store : FoldStore
        Keeps how often each fold was begun, and takes folds that failed.
    begun : callable (task, worker), optional
        Told of every fold as all workers take it up.

    Raises
    ------
    EnvironmentFaultError
        If the scheduler is lost, or all workers are for long.
    """
    from distributed import Lock

    turn = Lock("gpucv-train-together")
    _log.warning("%s", OPEN_PORTS)
    try:
        for task in tasks:
            with turn:
                begun(task, "all workers")
                outcome = _fold(cluster, work, task, store)
            yield outcome
    except (CancelledError, OSError) as lost:
        raise scheduler_lost() from lost


def _fold(cluster: Cluster, work: Work, task: FoldTask, store: FoldStore) -> Any:
    """Train one fold, again where a worker was lost under it."""
    parts, losses, short = 0, 0, False
    ended: set[str] = set()
    while True:
        seats = _gathered(cluster, parts, ended)
        # A part without a single row would be a worker that only costs sums.
        places = sorted(seats)[: max(1, task.n_train)]
        parts = len(places)
        gang = _Gang(cluster, {place: seats[place] for place in places})
        outcomes = gang.train(work, task, store.begin(task.fold_id))
        first = outcomes[0]
        if not isinstance(first, FoldRecord | BaseException | None) or _succeeded(first):
            return first
        if published := store.read(task.fold_id, task.key):
            return published  # the last breath of the first worker
        error = next((each for each in outcomes if isinstance(each, MemoryError)), None)
        if None in outcomes:
            losses += 1
            if losses > LOSSES_ALLOWED:
                told = f"{losses} workers were lost under it, the last {gang.how_lost(outcomes)}"
                return task, RuntimeError(told)
            _log.warning("a worker was lost under fold %d, which is begun again", task.fold_id)
        elif error is None:
            return _failure(task, outcomes, store)
        elif short:
            return task, given_up(task, error, "fresh workers")
        else:
            told = "memory ran out under fold %d, which is tried once more on fresh workers"
            _log.warning(told, task.fold_id)
            short, ended = True, {seat.process for seat in seats.values()}
            cluster.end(places)


def _succeeded(outcome: Any) -> bool:
    return isinstance(outcome, FoldRecord) and outcome.status != "failed"


def _failure(task: FoldTask, outcomes: Sequence[Any], store: FoldStore) -> Any:
    """Return why a fold failed though no worker was lost.

    Where one part fails, the others fail by the connection it closed; so whoever says
    something else than XGBoost is asked first.
    """
    errors = [each for each in outcomes if isinstance(each, BaseException)]
    for error in errors:
        if isinstance(error, EnvironmentFaultError):
            raise error
    if errors:
        return task, errors[0]
    failed = [each for each in outcomes if each.status == "failed"]
    told = min(failed, key=lambda record: record.error.startswith("XGBoostError"))
    return store.publish(told, None)


def _gathered(cluster: Cluster, before: int, ended: set[str]) -> Mapping[str, Seat]:
    """Return the workers that are here, after a while for as many as before to be.

    Processes that were told to end are not among them.
    """
    until = time.monotonic() + RETURN_SECONDS
    while True:
        here = cluster.seats()
        seats = {at: seat for at, seat in here.items() if seat.open and seat.process not in ended}
        if seats and (len(seats) >= before or time.monotonic() > until):
            return seats
        time.sleep(_POLL_SECONDS)


class _Gang:
    """Workers that train one fold together, once."""

    def __init__(self, cluster: Cluster, seats: Mapping[str, Seat]) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._seats = seats
        self._first = next(iter(seats))
        self._port = 0
        self._overdue = False

    def train(self, work: Work, task: FoldTask, attempts: int) -> list[Any]:
        """Return what each part returned or raised, in order; None of a worker that is lost."""
        parts = len(self._seats)
        outcomes: list[Any] = [None] * parts
        host = urlsplit(self._first).hostname or ""
        try:
            if parts > 1:
                found = self._client.run(open_tracker, parts, host, workers=[self._first])
                self._port = found[self._first]
            begun = {
                self._client.submit(
                    work,
                    task,
                    attempts,
                    share=Share(part, parts, host, self._port),
                    key=f"fold-{token_hex(8)}-{task.fold_id}-{part}",
                    pure=False,
                    workers=[place],
                ): (part, place)
                for part, place in enumerate(self._seats)
            }
        except (OSError, KeyError):
            return outcomes  # the first worker was lost before it began
        try:
            self._follow(begun, outcomes)
        finally:
            self._client.cancel(list(begun))
            self._disband()
        return outcomes

    def how_lost(self, outcomes: Sequence[Any]) -> str:
        """Return how the first of the workers was lost that have no outcome."""
        seat = list(self._seats.values())[outcomes.index(None)]
        return self._cluster.how_lost(seat.process, overdue=self._overdue)

    def _follow(self, begun: Mapping[Any, tuple[int, str]], outcomes: list[Any]) -> None:
        """Wait until every part has ended or lost its worker, and write down how."""
        waiting = dict(begun)
        broken, patience = False, math.inf
        limit = time.monotonic() + (self._cluster.fold_timeout_s or math.inf)
        while waiting:
            ended = self._ended(list(waiting))
            for future, outcome in ended:
                part, _ = waiting.pop(future)
                outcomes[part] = outcome
            lost = self._without_worker(waiting)
            for future in lost:
                self._client.cancel([future])  # not for whoever comes back at its address
                del waiting[future]
            if not broken and (lost or not all(_went_well(outcome) for _, outcome in ended)):
                broken, patience = True, time.monotonic() + GRACE_SECONDS
                self._disband()  # or those that wait to meet would wait on
            if waiting and time.monotonic() > min(limit, patience):
                self._overdue |= time.monotonic() > limit
                # Sums of GPUs are NCCL's, which may wait for a lost process for ever.
                self._cluster.end([place for _, place in waiting.values()])
                limit = patience = math.inf

    def _without_worker(self, waiting: Mapping[Any, tuple[int, str]]) -> list[Any]:
        """Return the futures whose worker is gone, or another process by now."""
        seats = self._cluster.seats()
        there = {
            place
            for place, seat in self._seats.items()
            if place in seats and seats[place].process == seat.process
        }
        if self._first not in there:
            self._port = 0  # the tracker went with it
        return [future for future, (_, place) in waiting.items() if place not in there]

    def _ended(self, futures: list[Any]) -> list[tuple[Any, Any]]:
        """Wait a little; return what is done, with what it returned or raised."""
        from distributed import wait

        found = []
        with contextlib.suppress(TimeoutError):  # not done, or lost with its outcome just now
            for future in wait(futures, _POLL_SECONDS, return_when="FIRST_COMPLETED").done:
                error = future.exception(timeout=_GATHER_SECONDS)
                found.append((future, error or future.result(timeout=_GATHER_SECONDS)))
        return found

    def _disband(self) -> None:
        """Close the tracker, if it and its worker are still there."""
        port, self._port = self._port, 0
        if port:
            self._client.run(close_tracker, port, workers=[self._first], on_error="ignore")


def _went_well(outcome: Any) -> bool:
    return not isinstance(outcome, BaseException) and getattr(outcome, "status", "") != "failed"
