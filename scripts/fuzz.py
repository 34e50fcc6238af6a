"""Fuzz a reader: coverage-guided where atheris is installed, else with hypothesis.

    python scripts/fuzz.py                      list the targets
    python scripts/fuzz.py study --seconds 60   damage studies for a minute

Seeds are made by the builders of the tests. A fault ends it with a traceback; atheris leaves the
file that showed it in the folder ``--keep`` names. Targets stand in ``tests/fuzz``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import random
import resource
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
_BATCH = 200


def main(argv: list[str] | None = None) -> int:
    """Fuzz one target; return 0 if it held for as long as was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AsWritten)
    parser.add_argument("target", nargs="*", help="one of those listed without any; 'all'")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--examples", type=int, default=0, help="so many files, not so long")
    parser.add_argument("--memory-mib", type=int, default=0, help="most a reader may take beside")
    parser.add_argument("--keep", type=Path, default=Path(), help="where atheris leaves findings")
    asked = parser.parse_args(argv)
    guided = find_spec("atheris") is not None and len(asked.target) == 1 and not asked.examples
    targets = _load(guided=guided)
    names = sorted(targets) if asked.target == ["all"] else asked.target
    unknown = sorted(set(names) - set(targets))
    if unknown or not names:
        print(*(f"unknown target: {name}" for name in unknown), *sorted(targets), sep="\n")
        return 2 if unknown else 0
    warnings.simplefilter("error")  # what numpy warns of reaches a user's terminal
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            place = Path(folder) / name
            place.mkdir()
            target = targets[name](place)
            if guided:
                _guided(target, asked, Path(folder))
            _unguided(target, asked)
            print(f"{name}: held", flush=True)
    return 0


def _load(*, guided: bool) -> dict[str, Any]:
    """Return every target by name; atheris counts what of gpucv they reach."""
    sys.path.insert(0, str(ROOT))
    watched: Any = contextlib.nullcontext()
    if guided:
        watched = importlib.import_module("atheris").instrument_imports(include=["gpucv"])
    with watched:
        targets: dict[str, Any] = dict(importlib.import_module("tests.fuzz.targets").TARGETS)
    return targets


def _unguided(target: Any, asked: argparse.Namespace) -> None:
    """Let hypothesis damage the seeds."""
    explore = importlib.import_module("tests.fuzz.target").explore
    for seed in target.seeds:  # loads what the reader loads, before memory is bounded
        target.read(seed)
    with _bounded(asked.memory_mib):
        if asked.examples:
            explore(target, asked.examples, stable=True)
            return
        end = time.monotonic() + asked.seconds
        while time.monotonic() < end:
            explore(target, _BATCH, stable=False)


@contextlib.contextmanager
def _bounded(mib: int) -> Any:
    """Refuse this process more than `mib` MiB of address space beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    if mib:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + (mib << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _guided(target: Any, asked: argparse.Namespace, folder: Path) -> None:
    """Let atheris find files that reach further; it ends this process."""
    atheris = importlib.import_module("atheris")
    meet = importlib.import_module("tests.fuzz.target").meet
    damaged = importlib.import_module("tests.fuzz.damage").damaged
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(seed)

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        draw = random.Random(seed)
        changed: bytes = damaged(data, draw) if draw.random() < 0.7 else atheris.Mutate(data, size)
        return changed[:size]

    flags = [f"-max_total_time={int(asked.seconds)}", "-max_len=100000", "-rss_limit_mb=4096"]
    flags += [f"-artifact_prefix={asked.keep.resolve()}/", "-timeout=90", "-verbosity=0"]
    atheris.Setup(
        [sys.argv[0], *flags, str(corpus)], lambda data: meet(target, data), custom_mutator=mutate
    )
    atheris.Fuzz()


class _AsWritten(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


if __name__ == "__main__":
    sys.exit(main())
