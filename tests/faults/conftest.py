from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv
from gpucv.runs import find_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    Results = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def study(few_steps: pd.DataFrame, tmp_path: Path) -> dict[str, Any]:
    """A study of four short folds: two models, two predictors."""
    codegen = few_steps[few_steps["workload"] == "codegen"]
    codegen.to_parquet(tmp_path / "steps.parquet")
    return {
        "name": "few-steps",
        "data": {"steps": [str(tmp_path / "steps.parquet")], "audit": "off"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [{"name": "constant"}, {"params": {"n_estimators": 5}}],
        "execution": {"workers": 1, "threads_per_fold": 1},
    }


@pytest.fixture
def results_of() -> Results:
    """Return everything a run folder holds that must not depend on when or how it ran."""

    def read(root: Path) -> dict[str, bytes]:
        result = gpucv.Result.load(root)
        names = ["predictions.parquet", "verdict.json", "experiments.csv", "importance.csv"]
        untimed = result.folds.drop(columns=["fit_s", "predict_s"])
        assert find_damage(root) == []
        return {
            **{name: (root / name).read_bytes() for name in names},
            **{str(p.relative_to(root)): p.read_bytes() for p in root.glob("folds/*/model.ubj")},
            "folds.csv": untimed.to_csv().encode(),
        }

    return read


@pytest.fixture
def undisturbed(study: dict[str, Any], tmp_path: Path, results_of: Results) -> dict[str, bytes]:
    """What the study computes when nothing goes wrong."""
    return results_of(gpucv.run(study, out=tmp_path / "undisturbed").path)


@pytest.fixture
def assert_heals(undisturbed: dict[str, bytes], results_of: Results) -> Callable[[Path], None]:
    """Check that a run folder is sound, finish the run, and compare with one nobody disturbed."""

    def check(root: Path) -> None:
        assert find_damage(root) == []
        gpucv.resume(root)
        assert results_of(root) == undisturbed

    return check


class Commands:
    """Runs `gpucv` commands in processes of their own, quickly: see forked.py.

    Attributes
    ----------
    folder : Path
        Where they run; ``study.toml`` is there.
    """

    def __init__(self, folder: Path, server: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._server = server

    def __call__(self, *words: str, **env: str) -> int:
        """Run one, and return its exit code: negative for the signal that killed it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        asked = {"words": words, "cwd": str(self.folder), "env": env}
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def with_faults(self, faults: str, *words: str) -> int:
        """Run one with faults made on purpose."""
        return self(*words, GPUCV_TESTING="1", GPUCV_FAULTS=faults)

    @property
    def said(self) -> str:
        """What the last one printed."""
        return (self.folder / "said").read_text(encoding="utf-8")


@pytest.fixture
def gpucv_command(study: dict[str, Any], tmp_path: Path) -> Iterator[Commands]:
    """Run `gpucv` commands in a folder with ``study.toml``."""
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    words = [sys.executable, str(Path(__file__).with_name("forked.py"))]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as server:
        yield Commands(tmp_path, server)
        server.communicate()
