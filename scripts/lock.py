"""Write the lock: requirements/*.txt, every package pinned and hashed.

One file per extra (cpu, cuda12, cuda13), each complete by itself, and one per group of tools
(test, lint, docs, bench, build), which go on top of any extra; all of them for Linux on Python
3.11 and newer.
RAPIDS pins pandas and dask tightly, so the cuda12 set is solved first and binds the others: what
CI tests on a CPU is what a GPU node runs.

Usage: python scripts/lock.py [--upgrade]    (needs uv; pins that still fit stay unless --upgrade)
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

__all__ = ["GROUPS", "disagreements", "main", "pins"]

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("test", "lint", "docs", "bench", "build")

# What is asked for, and the file it is bound by; the order is the order of solving.
STEPS: tuple[tuple[str, list[str], str | None], ...] = (
    ("cuda12", ["pyproject.toml", "--extra", "cuda12"], None),
    ("cpu", ["pyproject.toml", "--extra", "cpu"], "cuda12"),
    ("cuda13", ["pyproject.toml", "--extra", "cuda13"], "cpu"),
    ("test", ["--group", "test"], "cpu"),
    ("lint", ["--group", "lint"], "cpu"),
    ("docs", ["--group", "docs"], "cpu"),
    ("bench", ["--group", "bench"], "cpu"),
    ("build", ["--group", "build"], "cpu"),
)
OPTIONS = [
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--only-binary=:all:",
    # Else Python 3.12 gets numba 0.63.0b1, the last that states no bound on NumPy.
    "--prerelease=disallow",
    "--no-emit-find-links",
    "--custom-compile-command=make lock",
    "--quiet",
]


def main() -> int:
    """Solve every file anew, in the order that binds them to each other."""
    uv = shutil.which("uv")
    if uv is None:
        print("make lock needs uv, which is not on PATH; install it and try again", file=sys.stderr)
        return 4
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    for name, wanted, bound_by in STEPS:
        target = f"requirements/{name}.txt"
        bounds = ["--constraint", f"requirements/{bound_by}.txt"] if bound_by else []
        command = [uv, "pip", "compile", *wanted, *bounds, *OPTIONS, *upgrade]
        subprocess.run([*command, "--output-file", target], cwd=ROOT, check=True)
        print(f"{target}: {len(pins(ROOT / target))} packages")
    faults = disagreements(ROOT / "requirements")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def pins(lock: Path) -> dict[str, set[str]]:
    """Return the pinned versions of each package of a lock file (several where markers fork)."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in lock.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line):
            found[match[1]].add(match[2])
    return dict(found)


def disagreements(folder: Path) -> list[str]:
    """Name every package that two files installed together would pin differently.

    A group's file goes on top of any extra's file, and the base packages of every extra
    are those of the cpu extra. A file may know fewer forks of a package than another.
    """
    locks = {path.stem: pins(path) for path in sorted(folder.glob("*.txt"))}
    extras = [name for name in locks if name not in GROUPS]
    pairs = [(extra, group) for extra in extras for group in GROUPS]
    pairs += [(extra, "cpu") for extra in extras if extra != "cpu"]
    pairs += [(one, other) for one in GROUPS for other in GROUPS if one < other]
    return [
        f"requirements/{one}.txt and {other}.txt disagree on {name}: "
        f"{sorted(locks[one][name])} against {sorted(locks[other][name])}"
        for one, other in pairs
        for name in sorted(locks[one].keys() & locks[other].keys())
        if not (locks[one][name] <= locks[other][name] or locks[other][name] <= locks[one][name])
    ]


if __name__ == "__main__":
    sys.exit(main())
