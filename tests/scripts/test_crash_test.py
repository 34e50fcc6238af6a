from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "crash_test.py"


@pytest.mark.slow
@pytest.mark.fault(1, 3, 18)
@pytest.mark.parametrize(("backend", "kills"), [("threads", 14), ("dask", 6)])
def test_runs_killed_at_random_moments_lose_nothing_and_do_nothing_twice(
    backend: str, kills: int
) -> None:
    words = [sys.executable, str(SCRIPT), "--kills", str(kills), "--backend", backend]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    seed, told, kept = done.stdout.splitlines()
    assert seed.startswith("seed ")
    assert "kills of the driver" in told
    assert kept.startswith("every promise was kept")


@pytest.fixture
def crash_test(script: Any, tmp_path: Path) -> Any:
    """A test whose run in ``run-1`` had finished one fold when it was killed."""
    module = script("crash_test")
    test = object.__new__(module.CrashTest)
    test.folder, test.told = tmp_path, module.Counter()
    folder = tmp_path / "run-1" / "folds" / "0001"
    folder.mkdir(parents=True)
    (folder / "DONE").touch()
    (tmp_path / "run-1" / "manifest.json").touch()
    module.find_damage = lambda root: []
    test.module = module
    return test


def test_a_fold_made_again_or_lost_or_begun_again_breaks_the_promise(crash_test: Any) -> None:
    module, nothing = crash_test.module, crash_test.module.Counter()
    root = crash_test.folder / "run-1"
    done = crash_test._check("run-1", {}, nothing)
    assert list(done) == ["0001"]
    assert crash_test._check("run-1", done, nothing) == done
    with pytest.raises(module.BrokenPromiseError, match=r"\['0001'\] were begun again"):
        crash_test._check("run-1", done, module.Counter({"1": 1}))
    kept = root / "folds" / "0001" / "DONE"
    kept.rename(kept.with_name("before"))  # so that its inode is not given away again
    kept.touch()
    with pytest.raises(module.BrokenPromiseError, match=r"\['0001'\] were lost or made again"):
        crash_test._check("run-1", done, nothing)
    kept.unlink()
    with pytest.raises(module.BrokenPromiseError, match=r"\['0001'\] were lost or made again"):
        crash_test._check("run-1", done, nothing)


def test_a_damaged_folder_and_leftovers_of_a_finished_run_break_the_promise(
    crash_test: Any,
) -> None:
    module, root = crash_test.module, crash_test.folder / "run-1"
    (root / ".folds.csv.0a1b2c3d.tmp").touch()
    with pytest.raises(module.BrokenPromiseError, match=r"has leftovers: .*0a1b2c3d\.tmp"):
        module.results_of(root)
    module.find_damage = lambda root: ["a byte is wrong"]
    with pytest.raises(module.BrokenPromiseError, match=r"damaged: .*a byte is wrong"):
        crash_test._check("run-1", {}, module.Counter())
