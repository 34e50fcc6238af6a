"""Let the N-th call that changes the disk fail: nothing half-written is ever believed.

N goes up in steps, so that the calls of every kind of file are met and the suite stays fast;
GPUCV_EVERY_WRITE=1 takes every N.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from functools import partial
from itertools import count
from operator import eq, le
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gpucv
from gpucv.errors import EnvironmentFaultError, GpucvError, RunError
from gpucv.workflow import execution

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = ((os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "mkdir"), (Path, "write_text"))


class Disk:
    """Counts the calls that change the disk, and refuses the ones it was told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.refused: Callable[[int], bool] = lambda _: False
        # What is on the disk when the machine stops is not tested: no need to wait for it.
        monkeypatch.setattr(os, "fsync", lambda _: None)
        for owner, name in CALLS:
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any, **more: Any) -> Any:
            self.calls += 1
            if self.refused(self.calls):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*words, **more)

        return counted


@pytest.fixture
def study(study: dict[str, Any]) -> dict[str, Any]:
    """Two folds that learn from one column."""
    short = {"features": {"columns": ["batch.decode_tokens"]}}
    return {**study, **short, "predictors": [{"params": {"n_estimators": 2}}]}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    # The page is written like any other file; making it takes most of a short run's time.
    monkeypatch.setattr(execution, "render_page", lambda _: "<!doctype html>")
    monkeypatch.setattr(execution, "render_findings", lambda _: "# Findings")
    return Disk(monkeypatch)


def resumed(root: Path) -> gpucv.Result | None:
    """Finish a run that a full disk ended; None where it had not begun."""
    left = sorted(path.name for path in root.iterdir()) if root.exists() else []
    if not (root / "manifest.json").exists():
        assert left == [], f"not a run, and not empty: {left}"
        return None
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    if manifest["status"] != "finished":
        with pytest.raises(RunError, match="not finished; run: gpucv resume"):
            gpucv.Result.load(root)
    return gpucv.resume(root)


@pytest.mark.parametrize("lasting", [False, True], ids=["one call fails", "every later call fails"])
def test_whichever_write_fails_the_run_resumes_to_the_same_results(
    *,
    lasting: bool,
    disk: Disk,
    study: dict[str, Any],
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    results_of: Callable[[Path], dict[str, bytes]],
) -> None:
    step = 1 if os.environ.get("GPUCV_EVERY_WRITE") == "1" else 5 if lasting else 2
    n_unharmed = n_resumed = 0
    for nth in count(1, step):
        disk.calls = 0
        disk.refused = partial(le if lasting else eq, nth)
        root = tmp_path / f"{nth}"
        with contextlib.suppress(EnvironmentFaultError):
            gpucv.run(study, out=root)
            n_unharmed += 1
        if disk.calls < nth:
            break
        disk.refused = lambda _: False
        if resumed(root):
            n_resumed += 1
            assert results_of(root) == undisturbed, f"call {nth}"
    assert nth > 50
    assert n_resumed > nth // step // 2
    # Naming the lock's holder is a courtesy; and the last call was not reached.
    assert n_unharmed <= 2


def test_a_full_disk_ends_a_run_with_code_4(
    disk: Disk, study: dict[str, Any], tmp_path: Path
) -> None:
    disk.refused = lambda call: call > 30
    with pytest.raises(GpucvError, match=r"cannot write .*No space left on device") as caught:
        gpucv.run(study, out=tmp_path / "run")
    assert caught.value.exit_code == 4
