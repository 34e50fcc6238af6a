"""What the workers of a cluster have, and whether they compute what this process would."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.cluster.connection import connected, exposures, scheduler_address
from gpucv.folds.cluster.skew import skew_between
from gpucv.folds.cluster.worker import facts_here
from gpucv.folds.resources import Resources, WorkerFacts
from gpucv.machine import Gpu, package_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpucv.machine import Device
    from gpucv.study import ExecutionSpec

__all__ = ["ask", "first_workers", "must_agree", "survey_cluster", "workers_of"]

_log = logging.getLogger("gpucv.folds")

FIRST_WORKER_SECONDS = 300
"""How long to wait for a first worker: a batch system may start them after the scheduler."""
_ANSWER_SECONDS = 60
_PAUSE_SECONDS = 0.2


def survey_cluster(execution: ExecutionSpec) -> Resources:
    """Ask every worker of the study's scheduler what it has.

    Waits for a first worker, not for any number of them: whoever starts a cluster knows how
    many it should have. Workers that join later take folds too.

    Raises
    ------
    EnvironmentFaultError
        If the scheduler does not answer, no worker joins it, one lacks gpucv, or those
        that would run folds have other libraries than this process or than each other.
    """
    for exposure in exposures(execution):
        _log.warning("%s", exposure)
    with connected(execution) as client:
        workers = first_workers(client)
        answers = ask(client, list(workers), "")
        names = {address: str(worker["name"]) for address, worker in workers.items()}
        facts = {names[at]: must_answer(answer, names[at]) for at, answer in answers.items()}
    any_gpu = any(trains_on_gpu(each) for each in facts.values())
    device: Device = "cuda" if any_gpu and execution.device != "cpu" else "cpu"
    must_agree(facts, device)
    slots = {names[address]: int(worker["nthreads"]) for address, worker in workers.items()}
    return Resources(
        workers=tuple(_worker_facts(name, slots[name], each) for name, each in facts.items()),
        scheduler=scheduler_address(execution.scheduler),
    )


def workers_of(client: Any) -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of every worker, by address.

    Raises
    ------
    EnvironmentFaultError
        If the scheduler does not answer.
    """
    try:
        identity = client.sync(
            client.scheduler.identity, n_workers=-1, callback_timeout=_ANSWER_SECONDS
        )
    except (OSError, TimeoutError) as lost:
        raise scheduler_lost() from lost
    workers: dict[str, dict[str, Any]] = identity["workers"]
    return workers


def scheduler_lost() -> EnvironmentFaultError:
    """Return the fault of a scheduler that is gone, or answers no more."""
    return EnvironmentFaultError(
        "the Dask scheduler was lost; finished folds are kept: resume the run with --scheduler "
        "and the address of another, or '' for this machine alone"
    )


def first_workers(client: Any) -> dict[str, dict[str, Any]]:
    """Return the workers there are, waiting until there is one.

    Raises
    ------
    EnvironmentFaultError
        If none joins in time.
    """
    until = time.monotonic() + FIRST_WORKER_SECONDS
    told = False
    while not (workers := workers_of(client)):
        if not told:
            told = True
            waits = "no worker has joined the scheduler yet: waiting up to %g s for one"
            _log.warning(waits, FIRST_WORKER_SECONDS)
        if time.monotonic() > until:
            msg = (
                f"no worker has joined the scheduler at {client.scheduler.address} within "
                f"{FIRST_WORKER_SECONDS:g} s; start one with: dask worker ADDRESS, or "
                "dask cuda worker ADDRESS"
            )
            raise EnvironmentFaultError(msg)
        time.sleep(_PAUSE_SECONDS)
    return workers


def ask(client: Any, addresses: Sequence[str], table: str) -> dict[str, Any]:
    """Return what each worker says of itself, or the exception that came instead.

    One that says nothing in time is no sign of a lost scheduler: its own disk may stall.
    """

    async def one(address: str) -> Any:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found = await client.run(facts_here, table, workers=[address], on_error="return")
        except TimeoutError:
            return TimeoutError(f"no answer within {_ANSWER_SECONDS:g} s")
        return found[address]

    async def all_at_once() -> dict[str, Any]:
        told = await asyncio.gather(*map(one, addresses))
        return dict(zip(addresses, told, strict=True))

    try:
        answers: dict[str, Any] = client.sync(all_at_once, callback_timeout=2 * _ANSWER_SECONDS)
    except (OSError, TimeoutError) as lost:
        raise scheduler_lost() from lost
    return answers


def must_answer(answer: Any, name: str) -> dict[str, Any]:
    """Return a worker's facts.

    Raises
    ------
    EnvironmentFaultError
        If it could not tell them, for want of gpucv for instance.
    """
    if isinstance(answer, dict) and "fault" not in answer:
        return answer
    version = package_versions()["gpucv"]
    if isinstance(answer, dict):
        told = f"cannot say what it has ({answer['fault']}); look into its log"
    elif isinstance(answer, TimeoutError):
        told = f"gave {answer}; look into its log, and whether its disks answer"
    elif isinstance(answer, OSError):
        told = f"was lost ({answer}); run again"
    else:
        told = f"cannot load gpucv ({answer}); install gpucv {version} there, with its extra"
    msg = f"worker {name!r} {told}"
    raise EnvironmentFaultError(msg)


def trains_on_gpu(facts: Mapping[str, Any]) -> bool:
    """Say whether a worker has a GPU and an XGBoost built for it."""
    return bool(facts["gpus"]) and bool(facts["xgboost_cuda"])


def must_agree(facts: Mapping[str, Mapping[str, Any]], device: Device) -> None:
    """Refuse workers whose libraries differ from this process's, or among themselves.

    Where folds run on GPUs, workers without one take none and may have what they like.

    Raises
    ------
    EnvironmentFaultError
        Naming what differs.
    """
    taking = {
        name: each["versions"]
        for name, each in facts.items()
        if device == "cpu" or trains_on_gpu(each)
    }
    differing = skew_between(package_versions(), taking, device)
    if differing:
        msg = (
            "the cluster's workers and this process have other libraries, whose results may "
            f"differ ({differing}); install the same everywhere"
        )
        raise EnvironmentFaultError(msg)


def _worker_facts(name: str, slots: int, facts: Mapping[str, Any]) -> WorkerFacts:
    return WorkerFacts(
        name=name,
        host=facts["host"],
        cores=facts["cores"],
        slots=slots,
        memory_bytes=facts["memory_bytes"],
        gpus=tuple(Gpu(**each) for each in facts["gpus"]) if facts["xgboost_cuda"] else (),
        versions=facts["versions"],
        free_bytes=facts["free_bytes"],
        disk_bytes=facts["disk_bytes"],
    )
