"""What a benchmark leaves behind: every sample, and what a number needs to be believed."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.benchmark.harness import Sample
from gpucv.errors import RunError
from gpucv.machine import describe_machine
from gpucv.runs import atomic_write, make_folder, read_json, to_json
from gpucv.runs.manifest import now, source_revision
from gpucv.schema import BENCHMARK_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.machine import Device

__all__ = ["BenchmarkResult", "machine_slug", "new_result", "read_result", "write_result"]

_KIND = "gpucv benchmark"


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One execution of one suite.

    Attributes
    ----------
    suite : str
        What was measured; results of unlike suites are not compared.
    device : {"cpu", "cuda"}
    date : str
        UTC.
    command : str
    revision : str or None
        gpucv's git commit, where it runs from a checkout.
    machine : dict
        See `gpucv.machine.describe_machine`.
    settings : dict
        What decides the work: rows, features, rounds. Equal where results compare.
    samples : tuple of Sample
        Every run that counts, failed ones included.
    warmups : tuple of Sample
    summary : dict
        What the suite made of them.
    """

    suite: str
    device: Device
    date: str
    command: str
    revision: str | None
    machine: dict[str, Any]
    settings: dict[str, Any]
    samples: tuple[Sample, ...]
    warmups: tuple[Sample, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)


def new_result(
    suite: str,
    device: Device,
    settings: Mapping[str, Any],
    samples: tuple[Sample, ...],
    warmups: tuple[Sample, ...] = (),
) -> BenchmarkResult:
    """Return a result of this moment, this machine and this command."""
    program, *options = sys.argv
    return BenchmarkResult(
        suite=suite,
        device=device,
        date=now(),
        command=shlex.join([Path(program).name, *options]),
        revision=source_revision(),
        machine=describe_machine(),
        settings=dict(settings),
        samples=samples,
        warmups=warmups,
    )


def machine_slug(machine: Mapping[str, Any], device: Device) -> str:
    """Name a machine's folder: its first GPU on "cuda", else its processor and cores.

    Examples
    --------
    >>> machine_slug({"cpu": "AMD EPYC 9R14", "cores": 4, "gpus": []}, "cpu")
    'amd-epyc-9r14-4-cores'
    """
    if device == "cuda" and machine["gpus"]:
        named = str(machine["gpus"][0]).split(",")[0]
    else:
        named = f"{machine['cpu']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-")


def write_result(result: BenchmarkResult, root: Path) -> Path:
    """Write ``root/<machine>/<suite>-<UTC>.json``, whole or not at all; return its path.

    Raises
    ------
    EnvironmentFaultError
        If it cannot be written.
    """
    folder = root / machine_slug(result.machine, result.device)
    make_folder(folder)
    stamp = datetime.fromisoformat(result.date).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"{result.suite}-{stamp}.json"
    atomic_write(path, to_json({"kind": _KIND, "schema": BENCHMARK_SCHEMA, **asdict(result)}))
    return path


def read_result(path: Path) -> BenchmarkResult:
    """Read what `write_result` wrote.

    Raises
    ------
    RunError
        If it is missing, damaged, no benchmark, or of another version.
    """
    held = read_json(path)
    if held.get("kind") != _KIND:
        msg = f"{path} is no result of a benchmark; name a file that gpucv bench wrote"
        raise RunError(msg)
    if held.get("schema") != BENCHMARK_SCHEMA:
        msg = (
            f"{path} is of schema {held.get('schema')!r}; this version reads {BENCHMARK_SCHEMA}; "
            "use the gpucv that wrote it"
        )
        raise RunError(msg)
    try:
        known = {each.name: held[each.name] for each in fields(BenchmarkResult)}
        runs = {name: tuple(map(_sample, known[name])) for name in ("samples", "warmups")}
        return BenchmarkResult(**{**known, **runs})
    except (KeyError, TypeError) as error:
        msg = f"{path} is damaged: {error}; run the benchmark again"
        raise RunError(msg) from error


def _sample(held: dict[str, Any]) -> Sample:
    """Read a run; what JSON has no number for is null there, and NaN here."""
    times = ("wall_s", "process_s", "cpu_s")
    return Sample(**{**held, **{name: _number(held[name]) for name in times}})


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
