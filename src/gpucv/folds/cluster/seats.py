"""Which workers may take folds, how many each at once, and which are given up."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpucv.errors import DeviceUnavailableError, EnvironmentFaultError
from gpucv.folds.cluster import heartbeats, survey
from gpucv.folds.cluster.connection import connected
from gpucv.folds.cluster.heartbeats import Heartbeats, MemorySample
from gpucv.folds.cluster.local import local_client
from gpucv.folds.cluster.worker import samples_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpucv.folds.placement import Placement
    from gpucv.machine import Sample
    from gpucv.study import ExecutionSpec

__all__ = ["Cluster", "Seat", "open_cluster"]

NO_WORKER_SECONDS = 900
"""How long a run goes on without a single worker, before it ends and says so."""
_END_SECONDS = 20
"""How long a worker process may take to end; Dask's nanny kills it after 4."""

_log = logging.getLogger("gpucv.folds")


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker process that may take folds.

    Attributes
    ----------
    process : str
        Which process it is: one restarted at the same address is another.
    slots : int
        Folds it may run at once.
    open : bool
        Whether it takes work now; Dask pauses workers short of memory.
    renewable : bool
        Whether something (Dask's nanny) starts the process again when it ends.
    """

    process: str
    slots: int
    open: bool
    renewable: bool


@dataclass(slots=True)
class Cluster:
    """Worker processes, and who of them is fit to run folds.

    Attributes
    ----------
    client : distributed.Client
    placement : Placement
    table : str
        Path or URL of the feature table, which a worker must be able to read.
    remote : bool
        Whether the workers are somebody else's, and so need a look at.
    fold_timeout_s : float
        How long a fold may take; 0 for as long as it likes.
    """

    client: Any
    placement: Placement
    table: str
    remote: bool
    fold_timeout_s: float = 0
    _fit: dict[str, bool] = field(default_factory=dict)
    _why_not: str = ""
    _last_seen: float = field(default_factory=time.monotonic)
    _told_alone: bool = False
    _heartbeats: Heartbeats = field(default_factory=Heartbeats)
    _memory: dict[str, MemorySample] = field(default_factory=dict)
    _given_up: set[str] = field(default_factory=set)

    def seats(self) -> dict[str, Seat]:
        """Return the workers fit to run folds that are here now, by address.

        One that joined since the last call is asked what it has; where it cannot take part
        a warning says why, and it takes no fold. One that has been silent for long is given
        up: it is none of those returned, and ended if that can be done.

        Raises
        ------
        EnvironmentFaultError
            If the scheduler is lost, or no worker has been here for `NO_WORKER_SECONDS`.
        """
        workers = self._heard_from(survey.workers_of(self.client))
        fresh = [at for at, worker in workers.items() if _process(worker) not in self._fit]
        if fresh:
            self._look_at({address: workers[address] for address in fresh})
        seats = {
            address: Seat(
                process=_process(worker),
                slots=min(self.placement.folds_per_process, worker["nthreads"]),
                open=worker["status"] == "running",
                renewable=bool(worker["nanny"]),
            )
            for address, worker in workers.items()
            if self._fit.get(_process(worker))
        }
        self._must_not_be_alone(len(seats))
        return seats

    def must_be_fit(self) -> None:
        """Look at the workers that are here before the first fold.

        Raises
        ------
        EnvironmentFaultError
            If none is here, some lack gpucv, cannot read the table, or have other libraries
            than this process.
        DeviceUnavailableError
            If folds are to run on GPUs, and no worker has one.
        """
        workers = survey.first_workers(self.client)
        names = {address: str(worker["name"]) for address, worker in workers.items()}
        answers = survey.ask(self.client, list(workers), self.table)
        facts = {at: survey.must_answer(answer, names[at]) for at, answer in answers.items()}
        survey.must_agree({names[at]: each for at, each in facts.items()}, self.placement.device)
        taking = {address: each for address, each in facts.items() if self._takes(each)}
        if not taking:
            msg = (
                f"device 'cuda' was asked for, but none of the {len(facts)} workers has a GPU "
                "and an XGBoost built for CUDA; use device 'cpu', or start dask cuda workers"
            )
            raise DeviceUnavailableError(msg)
        blind = sorted({each["host"] for each in taking.values() if not each["reads"]})
        if blind:
            raise EnvironmentFaultError(_cannot_read(self.table, ", ".join(blind)))
        for address in facts:
            self._fit[_process(workers[address])] = address in taking

    def watched(self) -> dict[str, list[Sample]]:
        """Return what every worker that is here saw of its GPU, by its name."""
        if self.placement.device == "cpu":
            return {}
        workers = survey.workers_of(self.client)
        with contextlib.suppress(OSError):  # a worker lost by now takes its samples with it
            seen = self.client.run(samples_here, workers=list(workers), on_error="ignore")
            return {str(workers[address]["name"]): told for address, told in seen.items()}
        return {}

    def how_lost(self, process: str, *, overdue: bool) -> str:
        """Return how a worker process was lost: ended for a fold that overran, or by itself."""
        if overdue:
            limit = f"{self.fold_timeout_s:g} s (execution.fold_timeout_s)"
            return f"ended as the fold took more than {limit}"
        return f"with {self._memory[process]}" if process in self._memory else "without a word"

    def end(self, addresses: Sequence[str]) -> None:
        """End worker processes, whatever they are doing; a nanny starts each again.

        One without a nanny, or whose nanny does not answer, is struck off the scheduler's list;
        a warning says so.

        Raises
        ------
        EnvironmentFaultError
            If the scheduler is lost.
        """

        async def at_once() -> dict[str, str]:
            ended: dict[str, str] = await self.client.scheduler.restart_workers(
                workers=list(addresses),
                timeout=_END_SECONDS,
                wait_for_workers=False,
                on_error="return",
                stimulus_id=f"gpucv-end-{time.time()}",
            )
            return ended

        try:
            ended = self.client.sync(at_once, callback_timeout=3 * _END_SECONDS)
        except (OSError, TimeoutError) as lost:
            raise survey.scheduler_lost() from lost
        for address, how in ended.items():
            if how != "OK":
                told = "worker %s takes no more folds, and nothing here starts it again"
                _log.warning(told, address)

    def _heard_from(self, workers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return the workers that are not silent; give up those that have just become so."""
        at = {_process(worker): address for address, worker in workers.items()}
        beats = {process: workers[address]["last_seen"] for process, address in at.items()}
        silent = self._heartbeats.silent(beats)
        for process, address in at.items():
            self._memory[process] = MemorySample.of(workers[address], self.placement.device)
        for process in silent - self._given_up:
            told = "worker %s has not been heard from for %g s: it is ended"
            _log.warning(told, workers[at[process]]["name"], heartbeats.SILENT_SECONDS)
            self._given_up.add(process)
            self.end([at[process]])
        return {a: worker for a, worker in workers.items() if _process(worker) not in silent}

    def _takes(self, facts: Mapping[str, Any]) -> bool:
        return self.placement.device == "cpu" or survey.trains_on_gpu(facts)

    def _look_at(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """Decide of workers that have just joined whether they are fit."""
        if not self.remote:  # of this environment and this machine
            self._fit |= {_process(worker): True for worker in workers.values()}
            return
        for address, answer in survey.ask(self.client, list(workers), self.table).items():
            if isinstance(answer, OSError) and not isinstance(answer, TimeoutError):
                continue  # gone again, or not yet ready: the next look tells
            name, process = str(workers[address]["name"]), _process(workers[address])
            try:
                facts = survey.must_answer(answer, name)
                survey.must_agree({name: facts}, self.placement.device)
                if not facts["reads"]:
                    raise EnvironmentFaultError(_cannot_read(self.table, facts["host"]))
            except EnvironmentFaultError as fault:
                self._fit[process], self._why_not = False, str(fault)
                _log.warning("worker %s joined and takes no fold: %s", name, fault)
            else:
                self._fit[process] = self._takes(facts)

    def _must_not_be_alone(self, seats: int) -> None:
        now = time.monotonic()
        if seats:
            self._last_seen, self._told_alone = now, False
            return
        if not self._told_alone:
            self._told_alone = True
            waits = "no worker fit to run folds is left: waiting up to %g s for one"
            _log.warning(waits, NO_WORKER_SECONDS)
        if now - self._last_seen > NO_WORKER_SECONDS:
            msg = (
                f"no worker fit to run folds has been here for {NO_WORKER_SECONDS:g} s"
                f"{f' ({self._why_not})' if self._why_not else ''}; finished folds are kept: "
                "start workers and resume the run"
            )
            raise EnvironmentFaultError(msg)


@contextlib.contextmanager
def open_cluster(execution: ExecutionSpec, placement: Placement, table: str) -> Iterator[Cluster]:
    """Start workers on this machine, or connect to those of the study's scheduler.

    Parameters
    ----------
    execution : ExecutionSpec
    placement : Placement
        Its device decides who takes folds, its folds per process how many each at once.
    table : str
        Path or URL of the feature table.

    Raises
    ------
    EnvironmentFaultError
        If no cluster starts or answers, or its workers cannot run these folds.
    """
    remote = bool(execution.scheduler)
    with connected(execution) if remote else local_client(placement) as client:
        cluster = Cluster(client, placement, table, remote, execution.fold_timeout_s)
        if remote:
            cluster.must_be_fit()
        yield cluster


def _process(worker: Mapping[str, Any]) -> str:
    """Return what tells a worker process from its successor: each has a folder of its own."""
    return f"{worker['host']}:{worker['local_directory']}"


def _cannot_read(table: str, hosts: str) -> str:
    return (
        f"{hosts} cannot read {table}; put the run folder (--out) on a disk the workers share, "
        "or set execution.exchange to a folder or URL they reach"
    )
