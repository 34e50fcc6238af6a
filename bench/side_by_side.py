#!/usr/bin/env python3
"""Measure gpucv and its peers side by side on the embedded study's 8 folds, and judge the bars.

All run in turn, each in a process of its own held to the same cores, and are compared within
a repeat. Parts: ``main`` (what bars are about), ``start-up``, ``equality`` (folds bit by bit
over every way to run them), ``minor`` (the other peers, fewer repeats), ``gpu`` (where there is
one). Writes ``bench/results/<machine>/side-by-side-<cores>-cores-<UTC>.json``; exits with 1
where a bar is short. Wants an idle machine.

Usage: .venv/bin/python bench/side_by_side.py [--cores 4] [--repeats 5] [--quick]
       .venv/bin/python bench/side_by_side.py --page     (docs/benchmarks.md, of what was written)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bars.equality import WAYS
from bars.folder import write_folder
from bars.judge import equality, judge, not_measured, on_gpu, start_up
from bars.page import bar_lines, peer_lines, write_page
from peers.registry import PEERS

from gpucv.benchmark import Contender, Measurement, measure, new_result, write_result
from gpucv.machine import count_gpus, cpu_count

if TYPE_CHECKING:
    from bars.judge import Bar
    from peers.registry import Peer

    from gpucv.benchmark import Sample

BENCH = Path(__file__).resolve().parent
PARTS = ("main", "start-up", "equality", "minor", "gpu")
QUICK = {"limit": 300, "overrides": ("predictors.0.params.n_estimators=20",)}
SLOWEST_S = 900.0
STARTS = 11
COMMANDS = {
    "gpucv -h": (str(Path(sys.executable).with_name("gpucv")), "-h"),
    "import gpucv": (sys.executable, "-c", "import gpucv"),
}


def main() -> int:
    """Measure, print, judge and write."""
    options = _options()
    if options.page:
        print(f"written  {write_page(BENCH.parent)}")
        return 0
    with tempfile.TemporaryDirectory(prefix="gpucv-bench-") as scratch:
        whole, small = Path(scratch, "whole"), Path(scratch, "small")
        whole.mkdir()
        small.mkdir()
        write_folder(small, **QUICK)
        study = write_folder(whole, **(QUICK if options.quick else {}))
        rows, features = study.X.shape
        print(f"{len(study.folds)} folds of {rows:,} rows x {features}, {options.cores} cores")
        found, bars = _measured(options, whole, small)
    if options.quick:
        bars = [replace(bar, verdict="not judged") for bar in bars]
    samples = found.samples
    print("", *peer_lines(samples), "", *bar_lines(bars), sep="\n")
    for name, why in found.failures().items():
        print(f"{name} failed: {why}")
    if options.out:
        settings = {"cores": options.cores, "rows": rows, "features": features}
        settings |= {"folds": len(study.folds), "rounds": study.boosting.n_estimators}
        device = "cuda" if "gpu" in options.parts else "cpu"
        result = new_result(_suite(options), device, settings, samples)
        summary = {"bars": [bar.to_json() for bar in bars]}
        print(f"written  {write_result(replace(result, summary=summary), options.out)}")
    return int(not options.quick and any(bar.verdict == "short" for bar in bars))


def _suite(options: argparse.Namespace) -> str:
    return f"side-by-side-{options.cores}-cores" + ("-quick" if options.quick else "")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="gpucv and its peers, side by side.")
    cores = cpu_count()
    parser.add_argument("--cores", type=int, default=cores, help=f"of each contender ({cores})")
    parser.add_argument("--repeats", type=int, help="of the main contenders (5)")
    parser.add_argument("--minor-repeats", type=int, default=1, help="of the others (1)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what to measure (all)")
    parser.add_argument("--quick", action="store_true", help="a small table; judges nothing")
    parser.add_argument(
        "--python",
        nargs="+",
        default=[],
        metavar="PEER=PATH",
        help="run a peer by the interpreter of another environment",
    )
    parser.add_argument("--out", type=Path, help="where results go (bench/results)")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md's tables")
    options = parser.parse_args()
    if not 1 <= options.cores <= cores:
        parser.error(f"--cores {options.cores}: this process may use 1 to {cores}")
    options.repeats = options.repeats or (3 if options.quick else 5)
    options.parts = options.parts or [p for p in PARTS if p != "gpu" or count_gpus()]
    options.python = dict(each.split("=", 1) for each in options.python)
    if options.out is None and not options.quick:
        options.out = BENCH / "results"
    return options


def _measured(
    options: argparse.Namespace, whole: Path, small: Path
) -> tuple[Measurement, list[Bar]]:
    """Return every run, and the bars they decide."""
    samples: list[Sample] = []
    bars: list[Bar] = []
    warmups: list[Sample] = []

    def run(contenders: list[Contender], repeats: int) -> list[Sample]:
        found = measure(contenders, repeats=repeats, warmup=0, tell=_tell).samples
        samples.extend(found)
        return list(found)

    for part in ("main", "minor", "gpu"):
        if part not in options.parts:
            continue
        # The small table loads each peer's libraries and shows which of them work at all.
        there = [_peer(options, small, peer) for peer in _peers(options, part)]
        tried = measure(there, repeats=1, warmup=0).samples
        warmups.extend(each for each in tried if each.error)
        works = [each.contender for each in tried if not each.error]
        repeats = options.minor_repeats if part == "minor" else options.repeats
        found = run([_peer(options, whole, PEERS[name]) for name in works], repeats)
        if part == "main":
            bars += judge(found, options.cores)
        if part == "gpu":
            bars += on_gpu(found)
    if "start-up" in options.parts:
        commands = [Contender(name, argv) for name, argv in COMMANDS.items()]
        found = measure(commands, repeats=STARTS, warmup=1).samples
        samples += found
        bars += [start_up(found, name) for name in COMMANDS]
    if "equality" in options.parts:
        ways = [_child(f"equality {way}", "bars.equality", whole, way) for way in WAYS]
        found = run(ways, 1)
        names = {each.contender: each for each in found}
        bars.append(
            equality({way: names[f"equality {way}"].told.get("hashes", []) for way in WAYS})
        )
    return Measurement(tuple(samples), tuple(warmups)), [*bars, *not_measured(bars)]


def _peers(options: argparse.Namespace, part: str) -> list[Peer]:
    """Return the peers of a part that can run here, and name those that cannot."""
    found = []
    for peer in PEERS.values():
        if peer.part != part:
            continue
        missing = [] if peer.name in options.python else peer.missing()
        if missing:
            print(f"{peer.name} not run: no {', '.join(missing)} here")
        else:
            found.append(peer)
    return found


def _peer(options: argparse.Namespace, folder: Path, peer: Peer) -> Contender:
    python = options.python.get(peer.name, sys.executable)
    return _child(peer.name, "peers", peer.name, folder, "--cores", options.cores, python=python)


def _child(name: str, module: str, *arguments: object, python: str = sys.executable) -> Contender:
    command = (python, "-m", module, *map(str, arguments))
    return Contender(name, command, folder=BENCH, timeout_s=SLOWEST_S)


def _tell(sample: Sample) -> None:
    told = sample.error or (
        f"{sample.wall_s:7.2f} s of {sample.process_s:7.2f} s, cpu {sample.cpu_s:7.2f} s, "
        f"peak {sample.peak_bytes / 2**20:5.0f} MiB, load {sample.load_before:.1f}"
    )
    print(f"{sample.repeat:2d} {sample.contender:22s} {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
