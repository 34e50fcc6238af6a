"""Run one peer in this process: ``python -m peers NAME FOLDER --cores N``.

Prints one JSON object: ``wall_s`` of the folds alone, ``phases`` with what was done before
(loading, start-up), ``scores`` and ``folds``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from peers.registry import PEERS
from peers.scoring import told
from peers.study import read_study


def main() -> int:
    """Pin this process, load the peer, and run its folds against the clock."""
    parser = argparse.ArgumentParser(description="One peer, all folds.")
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=int, required=True)
    options = parser.parse_args()
    # Before a library counts cores: NumPy alone is loaded. What is started here inherits it.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    print(json.dumps(run(options.name, options.folder, options.cores)))
    return 0


def run(name: str, folder: Path, cores: int) -> dict[str, Any]:
    """Return what a peer took and came to."""
    began = time.perf_counter()
    peer, study = PEERS[name], read_study(folder)
    module = import_module(f"peers.{peer.module}")
    if peer.ready:
        getattr(module, peer.ready)(study, cores)
    ready = time.perf_counter()
    found = getattr(module, peer.run)(study, cores)
    wall = time.perf_counter() - ready
    more: dict[str, Any] = {}
    if isinstance(found, tuple):
        found, more = found
    each = found() if callable(found) else found
    phases = {"ready_s": ready - began, "folds_s": wall}
    held = len(os.sched_getaffinity(0))
    return {"wall_s": wall, "phases": phases, "cores": held, **more, **told(study, each)}


if __name__ == "__main__":
    sys.exit(main())
