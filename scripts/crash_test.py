"""Kill runs at random moments, resume them, and check that nothing is lost and nothing doubled.

    python scripts/crash_test.py --kills 200
    python scripts/crash_test.py --kills 20 --backend dask --seed 7

A small study runs in a child process. At a random moment the child gets SIGKILL, or (with
``--backend dask``) one of its workers; then the run is resumed, until the kills are spent.
After every kill what is on the disk has to be a sound run folder, in which every fold that
was finished before is the same file as before. No fold may be begun again once it was
finished. A run that came through is compared with one that nobody disturbed, byte for byte;
then the next begins.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gpucv.cli.main import main as gpucv_command
from gpucv.runs import find_damage

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BrokenPromiseError", "CrashTest", "main", "results_of"]

STUDY = """
name = "crash-test"
[data]
steps = ["STEPS"]
audit = "off"
where = { model = ["codellama-34b", "llama-2-7b"], workload = ["codegen", "general"] }
[features]
columns = ["batch.decode_tokens", "batch.prefill_tokens"]
[[schemes]]
name = "lomo"
hold_out = "model"
[[schemes]]
name = "lowo"
hold_out = "workload"
[[predictors]]
params = { n_estimators = 20 }
[[predictors]]
label = "shallow"
params = { n_estimators = 20, max_depth = 2 }
[execution]
workers = 2
threads_per_fold = 1
backend = "BACKEND"
"""
SAME = ("predictions.parquet", "experiments.csv", "importance.csv", "verdict.json")
"""What must not depend on how a run went; beside every fold's model and predictions."""
SLOW_FOLDS = "slow:fold=0+:0.3s"
"""Folds of so few rows would otherwise be over before a kill can meet them."""
STUCK_SECONDS = 300
"""After so long a process that does not end never will."""

SHARED = (
    *("distributed", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.model_selection"),
    *("xgboost", "gpucv.cli.output", "gpucv.cli.resume", "gpucv.cli.run", "rich.console"),
    *("gpucv.folds.cluster", "gpucv.workflow"),
)
"""Imported before the first fork, so that kills meet folds rather than imports."""

Done = dict[str, tuple[int, int]]


class BrokenPromiseError(Exception):
    """A promise that was broken."""


class CrashTest:
    """One study, killed again and again.

    Attributes
    ----------
    folder : Path
        Of the study, its runs, and the log of every fold that began.
    draw : random.Random
    told : Counter
        What happened, and how often.
    """

    def __init__(self, folder: Path, backend: str, seed: int) -> None:
        self.folder, self.draw, self.told = folder, random.Random(seed), Counter[str]()
        self._on_dask = backend == "dask"
        self._log = folder / "begun.log"
        self._log.touch()
        steps = Path(__file__).resolve().parents[1] / "data" / "study.parquet"
        study = STUDY.replace("STEPS", str(steps)).replace("BACKEND", backend)
        (folder / "study.toml").write_text(study, encoding="utf-8")
        began = time.monotonic()
        code = self._ended(self._start("undisturbed"))
        self.longest = time.monotonic() - began
        must(code == 0, f"the undisturbed run ended with code {code}: {self._said()}")
        self.expected = results_of(folder / "undisturbed")

    def kill_until(self, kills: int) -> None:
        """Begin runs and see each through to its end, until so many kills are spent."""
        spent, number = 0, 0
        while spent < kills:
            number += 1
            name = f"run-{number}"
            done: Done = {}
            while True:
                before = self._begun()
                code, killed = self._disturbed(name, armed=spent < kills)
                spent += killed
                done = self._check(name, done, self._begun() - before)
                if code == 0:
                    break
                must(self._may_end_with(code, name), f"{name} ended with {code}: {self._said()}")
            must(results_of(self.folder / name) == self.expected, f"{name}: other results")
            self.told["runs"] += 1

    def _may_end_with(self, code: int, name: str) -> bool:
        """Return whether a kill explains how a run ended."""
        manifest = self.folder / name / "manifest.json"
        if code == 1:  # a fold lost too many workers
            return "finished with failed folds" in manifest.read_text(encoding="utf-8")
        if code == 4:  # a worker was killed before it had begun to work
            return "Dask workers here" in self._said()
        return code == -signal.SIGKILL

    def _disturbed(self, name: str, *, armed: bool) -> tuple[int, bool]:
        """Start or resume a run, and kill it at a random moment; return its code, and if so."""
        driver = self._start(name)
        moment = time.monotonic() + self.draw.uniform(0, 0.7 * self.longest)
        at_worker = self._on_dask and self.draw.random() < 0.5
        while armed and time.monotonic() < moment and not ended(driver):
            time.sleep(0.002)
        workers = workers_of(driver)
        killed = armed and not ended(driver)
        if killed:
            victim = self.draw.choice(workers) if at_worker and workers else driver
            self.told["kills of the driver" if victim == driver else "kills of a worker"] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        code = self._ended(driver)
        # What outlives its driver for a moment may still write.
        deadline = time.monotonic() + STUCK_SECONDS
        while alive := [pid for pid in workers if parent_of(pid)]:
            must(time.monotonic() < deadline, f"workers {alive} outlive their driver")
            time.sleep(0.01)
        return code, killed

    def _start(self, name: str) -> int:
        """Run the command in a fork of this process, which has imported it already."""
        known = (self.folder / name / "manifest.json").exists()
        words = (
            ["resume", name, "--retry-failed"] if known else ["run", "study.toml", "--out", name]
        )
        self.told["resumed"] += known
        return os.fork() or self._become(words)

    def _become(self, words: list[str]) -> NoReturn:
        code = 70
        try:
            os.chdir(self.folder)
            said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            testing = {"GPUCV_TESTING": "1", "GPUCV_FAULTS": SLOW_FOLDS}
            os.environ.update(testing, GPUCV_FAULTS_LOG=str(self._log))
            gpucv_command([*words, "--quiet", "--json"])
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)  # nothing of the parent's, such as its folder, is to be cleaned up

    def _ended(self, driver: int) -> int:
        deadline = time.monotonic() + STUCK_SECONDS
        while not ended(driver):
            if time.monotonic() > deadline:
                os.kill(driver, signal.SIGKILL)
                raise BrokenPromiseError(f"a run hangs: {self._said()}")
            time.sleep(0.002)
        return os.waitstatus_to_exitcode(os.waitpid(driver, 0)[1])

    def _said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8", errors="replace")[-2000:]

    def _begun(self) -> Counter[str]:
        return Counter(line.split()[0] for line in self._log.read_text().splitlines())

    def _check(self, name: str, before: Done, begun: Counter[str]) -> Done:
        """Check the folder nobody writes now; return which folds are finished."""
        root = self.folder / name
        if not (root / "manifest.json").exists():
            must(not begun, f"{name} began folds before it was a run")
            self.told["killed before they began"] += 1
            return {}
        damage = find_damage(root)
        must(not damage, f"{name} is damaged: {damage}")
        after = finished_folds(root)
        lost = [fold for fold, file in before.items() if after.get(fold) != file]
        must(not lost, f"{name}: finished folds {lost} were lost or made again")
        again = [fold for fold in before if begun[str(int(fold))]]
        must(not again, f"{name}: finished folds {again} were begun again")
        self.told["leftovers swept later"] += len(leftovers(root))
        return after


def must(held: object, told: str) -> None:
    """Fail, saying what promise was broken, unless it held."""
    if not held:
        raise BrokenPromiseError(told)


def finished_folds(root: Path) -> Done:
    """Return which file each fold's DONE is, and when it was written."""
    found = {path.parent.name: path.stat() for path in root.glob("folds/[0-9]*/DONE")}
    return {fold: (stat.st_ino, stat.st_mtime_ns) for fold, stat in found.items()}


def leftovers(root: Path) -> list[Path]:
    """Return what is half-written, and the marks of folds that were begun."""
    return [*root.glob(".*.tmp"), *root.glob("folds/.*")]


def results_of(root: Path) -> dict[str, bytes]:
    """Return what a finished run computed; half-written files may not be there."""
    must(not leftovers(root), f"{root} has leftovers: {leftovers(root)}")
    paths = [*(root / name for name in SAME), *sorted(root.glob("folds/*/model.ubj"))]
    paths += sorted(root.glob("folds/*/predictions.parquet"))
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def ended(child: int) -> bool:
    """Return whether a child has ended, without taking its exit code."""
    return bool(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT))


def parent_of(process: int) -> int:
    """Return the parent of a process that runs, else 0."""
    try:
        said = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    state, parent = said.rpartition(")")[2].split()[:2]
    return 0 if state in "ZX" else int(parent)


def workers_of(driver: int) -> list[int]:
    """Return the worker processes of a driver; none where it runs folds on threads."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and parent_of(int(path.name)) == driver:
            with contextlib.suppress(OSError):
                if b"spawn_main" in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Run the test; return 0 where every promise was kept, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, help="of what is killed, and when; drawn if not given")
    parser.add_argument("--backend", choices=("threads", "dask"), default="threads")
    asked = parser.parse_args(words)
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    print(f"seed {seed}, {asked.kills} kills, backend {asked.backend}", flush=True)
    began = time.monotonic()
    for name in SHARED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="gpucv-crash-") as folder:
        try:
            test = CrashTest(Path(folder), asked.backend, seed)
            test.kill_until(asked.kills)
        except BrokenPromiseError as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            return 1
    print(", ".join(f"{count} {what}" for what, count in test.told.items() if count))
    print(f"every promise was kept, in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
