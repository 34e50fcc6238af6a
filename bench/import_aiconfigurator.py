#!/usr/bin/env python3
"""Measure ``gpucv import aiconfigurator`` over the whole public GEMM tree.

Prints rows, seconds and the peak memory of the importing process; exits with 1 where the
peak passes 2 GiB or the import fails, with 0 where the data is absent.

Usage: .venv/bin/python bench/import_aiconfigurator.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

LARGEST_KIB = 2 << 20
REPOSITORY = Path(__file__).resolve().parents[1]


def main() -> int:
    """Import the tree in a process of its own, and judge what it took."""
    folder = Path(os.environ.get("GPUCV_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    tree = folder / "aiconfigurator"
    if not tree.is_dir():
        print(f"skipped: no public data at {tree}; set GPUCV_SHARED_DATA to its folder")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "gemm.parquet"
        gpucv = Path(sys.executable).with_name("gpucv")
        command = [gpucv, "import", "aiconfigurator", tree, "--out", out, "--quiet"]
        start = time.perf_counter()
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        if done.returncode:
            print(f"the import ended with {done.returncode}")
            return 1
        # Only the import has been waited for so far, so this is its peak; KiB on Linux.
        peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        rows = pq.read_metadata(out).num_rows
        size = out.stat().st_size
    print(f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s")
    print(f"peak memory {peak_kib / 1024:,.0f} MiB, file {size / 2**20:,.0f} MiB")
    if peak_kib > LARGEST_KIB:
        print(f"peak memory is above {LARGEST_KIB >> 20} GiB")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
