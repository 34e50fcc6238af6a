"""A study that keeps shapes disjoint, and sets its error beside a random split's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

import gpucv
from gpucv.analysis import FOLD_COLUMNS
from gpucv.errors import SplitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]

SHAPED = {"name": "lomo", "hold_out": "model", "disjoint": ["op", "n", "k"]}
PLAIN = {"name": "plain", "hold_out": "model"}
RANDOM = {"name": "random", "splitter": "KFold", "params": {"n_splits": 3, "shuffle": True}}


@pytest.fixture
def kernels() -> pd.DataFrame:
    """Three models; two share their GEMMs, and all share attention, which has no n and k."""
    draw = np.random.default_rng(3)
    rows = []
    for model, width in (("llama-2-70b", 8192.0), ("codellama-34b", 8192.0), ("qwen", 5120.0)):
        for tokens in draw.integers(1, 2048, 30):
            rows += [(model, "gemm", width, width, tokens), (model, "rope", width, None, tokens)]
        rows.append((model, "attention", None, None, 7))
    table = pd.DataFrame(rows, columns=["model", "op", "n", "k", "tokens"])
    table["time_us"] = table["tokens"] * table["n"].fillna(1.0) * draw.lognormal(0, 0.1, len(table))
    return table.sample(frac=1, random_state=5, ignore_index=True)


@pytest.fixture
def run(kernels: pd.DataFrame, tmp_path: Path) -> Run:
    def start(*schemes: dict[str, Any], **sections: Any) -> gpucv.Result:
        kernels.to_parquet(tmp_path / "kernels.parquet")
        study = {
            "data": {
                "steps": [str(tmp_path / "kernels.parquet")],
                "target": "time_us",
                "audit": "off",
            },
            "features": {"columns": ["tokens"]},
            "schemes": list(schemes),
            "predictors": [{"name": "constant"}],
            "execution": {"workers": 2, "threads_per_fold": 1},
        }
        return gpucv.run({**study, **sections}, out=tmp_path / "run")

    return start


def by_hand(kernels: pd.DataFrame, model: str) -> tuple[int, int]:
    """How many rows a fold trains on and how many it leaves out, by a join."""
    shape = ["op", "n", "k"]
    held = kernels["model"] == model
    tested = kernels.loc[held, shape].fillna(-1.0).drop_duplicates().assign(tested=True)
    rest = kernels.loc[~held, shape].fillna(-1.0).merge(tested, on=shape, how="left")
    left_out = int(rest["tested"].notna().sum())
    return len(rest) - left_out, left_out


def test_rows_of_a_held_out_shape_are_left_out_and_counted(
    run: Run, kernels: pd.DataFrame, tmp_path: Path
) -> None:
    result = run(SHAPED, PLAIN)
    folds = result.folds.set_index(["scheme", "holdout"])
    expected = {model: by_hand(kernels, model) for model in sorted(set(kernels["model"]))}
    assert expected == {"codellama-34b": (60, 62), "llama-2-70b": (60, 62), "qwen": (120, 2)}
    for model, (n_train, n_left_out) in expected.items():
        fold = folds.loc[("lomo", model)]
        assert (fold["n_train"], fold["n_left_out"]) == (n_train, n_left_out)
        assert (folds.loc[("plain", model)])["n_left_out"] == 0
        assert folds.loc[("plain", model)]["n_train"] == n_train + n_left_out
    record = json.loads((tmp_path / "run/folds/0000/result.json").read_text())
    assert (record["n_train"], record["n_left_out"]) == (60, 62)
    assert list(result.folds) == [*FOLD_COLUMNS, "n_left_out"]
    plan = pd.read_csv(tmp_path / "run/plan.csv")
    assert plan["n_left_out"].tolist() == result.folds["n_left_out"].tolist()
    told = "126 training rows of the same shape (k x n x op) as a test row were left out"
    assert told in (tmp_path / "run/FINDINGS.md").read_text()


def test_a_finished_run_is_read_back_with_the_rows_it_left_out(run: Run, tmp_path: Path) -> None:
    result = run(SHAPED, RANDOM)
    again = gpucv.Result.load(tmp_path / "run")
    assert again.folds["n_left_out"].tolist() == result.folds["n_left_out"].tolist()
    assert str(again.verdicts) == str(result.verdicts)  # NaN equals itself in writing
    assert again.verdict.schemes[0].meaning.disjoint == ("k", "n", "op")


def test_the_column_is_there_although_no_row_had_to_be_left_out(
    run: Run, kernels: pd.DataFrame, tmp_path: Path
) -> None:
    kernels["k"] = kernels["model"].map({name: n for n, name in enumerate(set(kernels["model"]))})
    result = run(SHAPED)
    assert result.folds["n_left_out"].tolist() == [0, 0, 0]
    assert gpucv.Result.load(tmp_path / "run").folds["n_left_out"].tolist() == [0, 0, 0]
    told = "No training row has the shape (k x n x op) of a test row."
    assert told in (tmp_path / "run/FINDINGS.md").read_text()


def test_a_study_without_shapes_has_the_published_columns_alone(run: Run) -> None:
    assert list(run(PLAIN).folds) == list(FOLD_COLUMNS)


def test_a_model_whose_every_twin_is_held_out_cannot_be_left_out(
    run: Run, kernels: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match="holding 'codellama-34b' out leaves no row to train on"):
        run(
            {**SHAPED, "disjoint": "extra"},
            data={
                "steps": [str(tmp_path / "kernels.parquet")],
                "target": "time_us",
                "audit": "off",
                "constants": {"extra": 1},
            },
        )
    assert not (tmp_path / "run").exists()


def test_a_random_control_holds_out_the_rows_scikit_learn_would(
    run: Run, kernels: pd.DataFrame, tmp_path: Path
) -> None:
    result = run(PLAIN, RANDOM, seed=7)
    rows = result.experiments[result.experiments["scheme"] == "random"]
    ordered = kernels.sort_values("model", kind="stable", ignore_index=True)
    for index, (_, test) in enumerate(KFold(3, shuffle=True, random_state=7).split(ordered)):
        here = rows[rows["holdout"] == f"split-{index}"]
        counted = ordered.iloc[test]["model"].value_counts()
        assert dict(zip(here["model"], here["n_test"], strict=True)) == counted.to_dict()
    assert rows["n_test"].sum() == len(kernels)


def test_the_gap_in_verdict_json_is_that_of_folds_csv(run: Run, tmp_path: Path) -> None:
    run(PLAIN, SHAPED, RANDOM)
    averages = pd.read_csv(tmp_path / "run/folds.csv").groupby("scheme")["test_mape"].mean()
    (verdict,) = json.loads((tmp_path / "run/verdict.json").read_text())["verdicts"]
    for gap, scheme in zip(verdict["optimism_gaps"], ("plain", "lomo"), strict=True):
        assert (gap["scheme"], gap["control"]) == (scheme, "random")
        assert gap["gap_points"] == pytest.approx(averages[scheme] - averages["random"])
        assert gap["ratio"] == pytest.approx(averages[scheme] / averages["random"])
    assert "optimism gap" in (tmp_path / "run/report.html").read_text()
