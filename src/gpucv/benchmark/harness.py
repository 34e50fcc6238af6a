"""Contenders run in turn, again and again, with time and memory of every single run.

Two programs timed one after the other are timed on two states of the machine. So a repeat
runs each contender once, the next repeat begins with another one, and figures are compared
within a repeat (`gpucv.benchmark.ratios`). The first repeat is a warm-up and counts nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from gpucv.benchmark.process_tree import TreeWatch
from gpucv.errors import StudyError
from gpucv.machine import GpuWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gpucv.benchmark.process_tree import MemoryKind

__all__ = ["Contender", "Measurement", "Sample", "measure"]

_GPU_INTERVAL_S = 0.05
_LONGEST_TOLD = 300


@dataclass(frozen=True, slots=True)
class Contender:
    """Something to measure: a command or a callable, which tells what it did as one object.

    The object may hold ``wall_s`` (seconds of the region that counts, by
    ``time.perf_counter``; without it, the whole process or call counts), ``phases`` (seconds
    by name), ``scores`` (accuracy by name), and whatever else should be kept.

    Attributes
    ----------
    name : str
    command : tuple of str
        Run in a fresh process each time. The last line it prints is its object, as JSON.
        A command that prints nothing of the kind is timed as a whole.
    call : callable, optional
        Run in this process instead: for phases of microseconds. Returns its object.
    environment : mapping
        Laid over the environment of a command.
    folder : Path, optional
        Where a command runs.
    timeout_s : float, optional
        After so many seconds a command, and all it started, is ended, and has failed.
    """

    name: str
    command: tuple[str, ...] = ()
    call: Callable[[], Mapping[str, Any]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one contender.

    Attributes
    ----------
    contender : str
    repeat : int
        From 0; warm-ups have repeats of their own.
    position : int
        Which in its repeat.
    wall_s : float
        Of the region that counts; NaN if the run failed.
    process_s : float
        From start to end of the process, loading and start-up included; of the call.
    cpu_s : float
        Of that whole time: user and system, of the process and every child it waited for.
    peak_bytes : int
        The most the process and its descendants held; of a call, this process.
    peak_kind : {"pss", "rss", ""}
        How it was counted; see `gpucv.benchmark.process_tree`.
    gpu_peak_bytes : int or None
        The most all processes held of this process's GPU; None without NVML or a GPU.
    load_before, load_after : float
        The machine's load average over one minute.
    phases, scores : dict of str to float
        As the contender told them.
    told : dict
        Whatever else it told.
    error : str
        Why it failed, in one line; "" if it did not.
    """

    contender: str
    repeat: int
    position: int
    wall_s: float = float("nan")
    process_s: float = float("nan")
    cpu_s: float = float("nan")
    peak_bytes: int = 0
    peak_kind: MemoryKind = ""
    gpu_peak_bytes: int | None = None
    load_before: float = 0.0
    load_after: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Every run: those that count, in the order they were made, and the warm-ups.

    Attributes
    ----------
    samples, warmups : tuple of Sample
        Failed runs included.
    """

    samples: tuple[Sample, ...]
    warmups: tuple[Sample, ...] = ()

    def of(self, contender: str) -> list[Sample]:
        """Return the runs of one contender that count and did not fail."""
        return [each for each in self.samples if each.contender == contender and not each.error]

    def failures(self) -> dict[str, str]:
        """Return why contenders failed, by name."""
        return {each.contender: each.error for each in self.warmups + self.samples if each.error}

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON-ready values."""
        return {
            "samples": [asdict(each) for each in self.samples],
            "warmups": [asdict(each) for each in self.warmups],
        }


def measure(
    contenders: Sequence[Contender],
    *,
    repeats: int = 5,
    warmup: int = 1,
    tell: Callable[[Sample], None] | None = None,
) -> Measurement:
    """Run contenders in turn: A B C, then B C A, then C A B.

    Parameters
    ----------
    contenders : sequence of Contender
        Names must differ.
    repeats : int
        Runs of each that count.
    warmup : int
        Repeats before those, run and kept apart.
    tell : callable, optional
        Told of every run as it ends.

    Returns
    -------
    Measurement
        A contender that fails is not run again; the others are.

    Raises
    ------
    StudyError
        If two contenders share a name, or one is neither a command nor a callable.
    """
    names = [each.name for each in contenders]
    for each in contenders:
        if names.count(each.name) > 1:
            raise StudyError(f"{each.name!r} names two contenders; give each its own name")
        if bool(each.command) == (each.call is not None):
            raise StudyError(f"contender {each.name!r}: give it a command or a callable")
    failed: set[str] = set()
    rounds: list[list[Sample]] = []
    for number in range(-warmup, repeats):
        rounds.append([])
        turn = number % len(contenders) if contenders else 0
        for position, contender in enumerate((*contenders[turn:], *contenders[:turn])):
            if contender.name in failed:
                continue
            place = number if number >= 0 else number + warmup
            sample = _run(contender, Sample(contender.name, place, position))
            failed |= {contender.name} if sample.error else set()
            rounds[-1].append(sample)
            if tell is not None:
                tell(sample)
    flat = [sample for each in rounds[warmup:] for sample in each]
    return Measurement(tuple(flat), tuple(s for each in rounds[:warmup] for s in each))


def _run(contender: Contender, blank: Sample) -> Sample:
    blank = replace(blank, load_before=os.getloadavg()[0])
    with GpuWatch(_GPU_INTERVAL_S) as gpu:
        began = time.time()
        sample = _command(contender, blank) if contender.command else _call(contender, blank)
        seen = gpu.between(began, time.time())
    peak = seen.get("memory_peak_bytes")
    return replace(
        sample,
        gpu_peak_bytes=None if peak is None else int(peak),
        load_after=os.getloadavg()[0],
    )


def _command(contender: Contender, blank: Sample) -> Sample:
    environment = {**os.environ, **contender.environment}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        try:
            # A session of its own: what it started can be ended with it.
            process = subprocess.Popen(
                contender.command,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=contender.folder,
                start_new_session=True,
            )
        except OSError as error:
            told = f"cannot start {contender.command[0]}: {error.strerror}"
            return replace(blank, error=told)
        with TreeWatch(process.pid) as watch:
            code, cpu_s, late = _ended(process, contender.timeout_s)
            took = time.perf_counter() - began
        seen = replace(
            blank,
            process_s=took,
            cpu_s=cpu_s,
            peak_bytes=watch.peak_bytes,
            peak_kind=watch.kind,
        )
        if late:
            return replace(seen, error=f"ended after {contender.timeout_s:g} s")
        if code:
            return replace(seen, error=_last_line(err) or f"ended with exit code {code}")
        return _told(seen, _object_in(out))


def _ended(process: subprocess.Popen[bytes], timeout_s: float | None) -> tuple[int, float, bool]:
    """Wait for a process; return its exit code, its CPU seconds, and whether it was too late."""
    late = threading.Event()

    def end() -> None:
        late.set()
        _end_all(process.pid)

    timer = None if timeout_s is None else threading.Timer(timeout_s, end)
    if timer is not None:
        timer.start()
    try:
        # Blocking, so that the time is exact; and wait4 alone tells what one child used.
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        _end_all(process.pid)
        process.wait()
        raise
    finally:
        if timer is not None:
            timer.cancel()
    _end_all(process.pid)  # what it left running would be in the way of the next contender
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, late.is_set()


def _end_all(session: int) -> None:
    """End every process of a session, if there is one left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)


def _call(contender: Contender, blank: Sample) -> Sample:
    assert contender.call is not None
    before, began = _own_cpu(), time.perf_counter()
    with TreeWatch(os.getpid()) as watch:
        try:
            answer = contender.call()
        except Exception as error:  # whatever it is, the others still run
            lines = str(error).splitlines() or [""]
            return replace(blank, error=f"{type(error).__name__}: {lines[0]}"[:_LONGEST_TOLD])
        took = time.perf_counter() - began
        cpu_s = _own_cpu() - before
        watch.look()
    seen = replace(
        blank,
        process_s=took,
        cpu_s=cpu_s,
        peak_bytes=watch.peak_bytes,
        peak_kind=watch.kind,
    )
    return _told(seen, dict(answer))


def _own_cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def _told(sample: Sample, answer: dict[str, Any]) -> Sample:
    """Return the sample with what its contender told."""
    return replace(
        sample,
        wall_s=float(answer.pop("wall_s", sample.process_s)),
        phases=dict(answer.pop("phases", {})),
        scores=dict(answer.pop("scores", {})),
        told=answer,
    )


def _object_in(file: IO[bytes]) -> dict[str, Any]:
    """Return the object on the last line printed; an empty one if there is none."""
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").split("\n")
    return next((each.strip() for each in reversed(lines) if each.strip()), "")[:_LONGEST_TOLD]
