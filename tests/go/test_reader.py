"""The Go reader against XGBoost and NumPy, on sets written by hand.

A usual run compares a million rows: 250,000 per model. GPUCV_GO_ROWS sets another number.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from gpucv.export.exact import exact_exp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# By its place: the folders of tests are no packages.
_SPEC = importlib.util.spec_from_file_location("handmade", Path(__file__).with_name("handmade.py"))
assert _SPEC
assert _SPEC.loader
sets = sys.modules["handmade"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sets)

GO = Path(__file__).resolve().parents[2] / "go"
ROWS = int(os.environ.get("GPUCV_GO_ROWS", "250000"))
TINY = np.float32(1e-45)


def test_the_module_is_formatted_and_vetted(go: Callable[..., Any]) -> None:
    assert go("vet", "./...") == (0, "", "")
    gofmt = Path(go("env", "GOROOT").out.strip()) / "bin" / "gofmt"
    files = [str(path) for path in GO.rglob("*.go")]
    listed = subprocess.run([gofmt, "-l", *files], text=True, capture_output=True, check=True)
    assert listed.stdout == ""


def test_it_builds_where_git_refuses_the_checkout(go: Callable[..., Any], tmp_path: Path) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexit 128\n")
    git.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = go("build", "-o", str(tmp_path / "steptime"), "./cmd/steptime", PATH=path)
    assert done == (0, "", "")


def test_its_own_tests_pass(go: Callable[..., Any]) -> None:
    done = go("test", "./...")
    assert done.code == 0, done


@pytest.mark.skipif(shutil.which("gcc") is None, reason="go's race detector needs gcc")
def test_no_goroutines_race(go: Callable[..., Any]) -> None:
    done = go("test", "-race", "./...", CGO_ENABLED="1")
    assert done.code == 0, done


@pytest.mark.parametrize("target", ["FuzzBooster", "FuzzManifest"])
def test_damaged_bytes_never_make_it_panic(go: Callable[..., Any], target: str) -> None:
    fuzz = ["-run", "^$", "-fuzz", f"^{target}$", "-fuzztime", "20000x"]
    done = go("test", *fuzz, "-fuzzminimizetime", "10x", "-parallel", "2", ".")
    assert done.code == 0, done


def plain() -> xgboost.Booster:
    return sets.train({"max_depth": 6, "eta": 0.05, "subsample": 0.8}, 300, "log")


def deep() -> xgboost.Booster:
    params = {"max_depth": 0, "max_leaves": 200, "grow_policy": "lossguide", "eta": 0.1}
    return sets.train(params, 37, "raw", seed=1)


def pruned() -> xgboost.Booster:
    params = {"max_depth": 5, "gamma": 30.0, "eta": 0.3, "num_parallel_tree": 3}
    return sets.train(params, 21, "log", seed=2)


def extreme() -> xgboost.Booster:
    """Splits at numbers that tell one comparison of floats from another."""
    model = sets.json_of(sets.train({"max_depth": 5, "eta": 0.3}, 43, "log", seed=3))
    edges = [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38, 0.1]
    rng = np.random.default_rng(4)
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        for at, left in enumerate(tree["left_children"]):
            if left != -1 and rng.random() < 0.5:
                tree["split_conditions"][at] = float(rng.choice(edges))
                tree["default_left"][at] = int(rng.integers(2))
    return xgboost.Booster(model_file=bytearray(json.dumps(model).encode()))


MODELS = {
    "plain": (plain, {"transform": "log", "smearing": 1.02, "floor_us": 30.0}),
    "deep": (deep, {"transform": "raw"}),
    "pruned": (pruned, {"transform": "ratio", "reference": 32}),
    "extreme": (extreme, {"transform": "utilisation", "reference": 32, "floor_us": 2500.0}),
}


def adversarial(booster: xgboost.Booster, rows: int) -> NDArray[np.float32]:
    """Return rows of thresholds, their neighbours, and what floats have at their edges."""
    rng = np.random.default_rng(11)
    model = sets.json_of(booster)["learner"]["gradient_booster"]["model"]
    found: list[list[float]] = [[] for _ in sets.FEATURES]
    for tree in model["trees"]:
        splits = zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True
        )
        for left, feature, threshold in splits:
            if left != -1:
                found[feature].append(threshold)
    edges = [np.nan, np.inf, -np.inf, 0.0, -0.0, TINY, -TINY, 1e-38, 3.4028235e38, -3.4028235e38]
    columns = []
    for thresholds in found:
        ties = np.array([*thresholds, 1.0], dtype=np.float32)
        with np.errstate(over="ignore"):
            near = [np.nextafter(ties, np.float32(to)) for to in (np.inf, -np.inf)]
        pool = np.concatenate([ties, *near])
        choices = [
            rng.choice(pool, rows),
            rng.choice(np.array(edges, dtype=np.float32), rows),
            (rng.normal(size=rows) * 10 ** rng.uniform(-3, 6, rows)).astype(np.float32),
        ]
        columns.append(np.choose(rng.choice(3, rows, p=[0.6, 0.15, 0.25]), choices))
    return np.column_stack(columns)


@pytest.mark.parametrize("name", MODELS)
def test_every_row_has_the_bits_of_xgboost(
    go: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    build, fields = MODELS[name]
    made = sets.artifact(build(), name, **fields)
    sets.write_set(tmp_path / "set", [made])
    X, inputs = adversarial(made.booster, ROWS), sets.steps(ROWS, seed=5)
    values = made.values(inputs)
    exponents = np.random.default_rng(6).uniform(-760, 720, ROWS)
    exponents[: ROWS // 2] = np.float32(exponents[: ROWS // 2] / 40)
    arrays: dict[str, Any] = {
        "features.f32": X,
        "margins.f32": made.margins(X),
        "inputs.f64": inputs,
        "values.f64": values,
        "us.i64": np.array(sets.whole(values), dtype=np.int64),
        "exponents.f64": exponents,
        "exponentials.f64": exact_exp(exponents),
    }
    for file, array in arrays.items():
        (tmp_path / file).write_bytes(np.ascontiguousarray(array).tobytes())
    done = go(
        *("test", "-count=1", "-v", "-run", "TestEveryRowOfPythonIsAnsweredAlike", "."),
        STEPTIME_ROWS=str(tmp_path),
        STEPTIME_SET=str(tmp_path / "set"),
        STEPTIME_MODEL=name,
    )
    assert done.code == 0, done
    assert f"{ROWS} margins, 0 differ" in done.out
    assert f"{ROWS} values, 0 differ" in done.out


def test_the_rows_compared_tell_other_rules_apart() -> None:
    """A comparison that every reader passed would prove nothing."""
    made = sets.artifact(extreme(), "extreme")
    X = adversarial(made.booster, 2000)
    margins = made.margins(X)
    assert len(np.unique(margins)) > 500
    # Missing values taken for 0, and ties sent the other way.
    assert (made.margins(np.where(np.isnan(X), np.float32(0), X)) != margins).mean() > 0.05
    with np.errstate(over="ignore"):
        lower = np.nextafter(X, np.float32(-np.inf))
    assert (made.margins(lower) != margins).mean() > 0.2


def test_the_command_answers_a_table_and_verifies_a_set(
    steptime: Callable[..., Any], tmp_path: Path
) -> None:
    made, folder = sets.artifact(plain(), "plain", transform="log"), tmp_path / "set"
    sets.write_set(folder, [made])
    inputs = sets.steps(500, seed=8)[8:]
    cells = [["" if np.isnan(v) else repr(float(v)) for v in row] for row in inputs]
    table = "\n".join(",".join(row) for row in [sets.INPUTS, *cells])
    done = steptime("predict", "--model", "PLAIN", folder, stdin=table)
    assert done.code == 0, done
    answers = [int(line.split(",")[0]) for line in done.out.splitlines()[1:]]
    assert answers == sets.whole(made.values(inputs))

    assert steptime("verify", folder) == (0, "plain/h100/tp1: 300 golden rows agree\n", "")
    model = folder / "models" / "0001.json"
    model.write_bytes(model.read_bytes()[:-10])
    done = steptime("verify", folder)
    assert done.code == 1
    assert "models/0001.json has" in done.err
    assert done.err.count("\n") == 1
    done = steptime("predict", "--model", "plane", folder, stdin=table)
    assert done.code == 1
    assert 'did you mean "plain"?' in done.err


def test_the_set_that_go_tests_read_is_small_and_as_written_by_hand(tmp_path: Path) -> None:
    kept = GO / "testdata" / "set"
    assert sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) < 200_000
    sets.write_testdata(tmp_path)
    now, then = (json.loads((at / "manifest.json").read_text()) for at in (tmp_path, kept))
    for fresh, old in zip(now["artifacts"], then["artifacts"], strict=True):
        for written in ("model_files", "golden", "base_score"):  # by XGBoost, not by hand
            del fresh[written], old[written]
    assert now == then
