"""Any table with a measured time: no model, no experiment, no step."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.errors import DataError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]


@pytest.fixture
def kernels() -> pd.DataFrame:
    """Three GPUs x four batch sizes x ten sequence lengths, shuffled."""
    draw = np.random.default_rng(3)
    rows = [(g, b, s) for g in ("a100", "b200", "h100") for b in (1, 2, 4, 8) for s in range(10)]
    table = pd.DataFrame(rows, columns=["card", "batch", "length"])
    table["latency_ms"] = (table["batch"] * (1 + table["length"])) * draw.lognormal(0, 0.05, 120)
    return table.sample(frac=1, random_state=5)


@pytest.fixture
def run(kernels: pd.DataFrame, tmp_path: Path) -> Run:
    """Run a study over the table as CSV, with sections laid over it."""

    def start(**sections: Any) -> gpucv.Result:
        kernels.to_csv(tmp_path / "kernels.csv", index=False)
        study = {
            "data": {"steps": [str(tmp_path / "kernels.csv")], "target": "latency_ms"},
            "features": {"columns": ["batch", "length"]},
            "schemes": [{"name": "leave-one-card-out", "hold_out": "card"}],
            "predictors": [{"params": {"n_estimators": 5, "min_child_weight": 1}}],
            "execution": {"workers": 2, "threads_per_fold": 1},
        }
        return gpucv.run({**study, **sections}, out=tmp_path / "run")

    return start


def held_out(result: gpucv.Result, kernels: pd.DataFrame, holdout: str) -> pd.DataFrame:
    """Return the table's rows that a fold predicted, by the order the file has them in."""
    mine = result.predictions[result.predictions["holdout"] == holdout]
    return kernels.reset_index(drop=True).loc[mine["step_id"].to_numpy()]


def test_one_group_at_a_time_by_any_column(run: Run, kernels: pd.DataFrame) -> None:
    result = run()
    assert result.folds["holdout"].tolist() == ["a100", "b200", "h100"]
    assert set(result.folds["target"]) == {"latency_ms"}
    assert result.folds[["n_train", "n_test"]].to_numpy().tolist() == [[80, 40]] * 3
    for card in ("a100", "b200", "h100"):
        assert set(held_out(result, kernels, card)["card"]) == {card}


def test_row_counts_say_what_was_not_held_out_and_what_only_watched(run: Run) -> None:
    folds = run(validation={"fraction": 0.3}).folds
    assert (folds["n_train"] + folds["n_test"] == 120).all()
    assert set(folds["n_valid"]) == {24}


def test_combinations_of_two_columns_are_groups(run: Run, kernels: pd.DataFrame) -> None:
    result = run(schemes=[{"name": "card-and-batch", "hold_out": ["card", "batch"]}])
    assert len(result.folds) == 12
    assert set(result.folds["n_test"]) == {10}
    rows = held_out(result, kernels, "b200 x 4")
    assert set(zip(rows["card"], rows["batch"], strict=True)) == {("b200", 4)}


def test_two_groups_can_be_left_out_together(run: Run, kernels: pd.DataFrame) -> None:
    result = run(schemes=[{"name": "two-batches", "hold_out": "batch", "p": 2}])
    expected = [" + ".join(pair) for pair in combinations(("1", "2", "4", "8"), 2)]
    assert result.folds["holdout"].tolist() == expected
    assert set(result.folds["n_test"]) == {60}
    assert set(held_out(result, kernels, "1 + 8")["batch"]) == {1, 8}


def test_a_random_control_runs_beside_the_groups(run: Run) -> None:
    control = {"name": "random", "splitter": "KFold", "params": {"n_splits": 4, "shuffle": True}}
    result = run(schemes=[{"name": "by-card", "hold_out": "card"}, control])
    random = result.folds[result.folds["scheme"] == "random"]
    assert random["holdout"].tolist() == ["split-0", "split-1", "split-2", "split-3"]
    assert random["n_test"].sum() == 120
    rows = result.predictions[result.predictions["scheme"] == "random"]
    assert sorted(rows["step_id"]) == list(range(120))
    assert result.verdict.worst is not None
    assert result.verdict.worst.scheme == "by-card"


@pytest.mark.parametrize(
    ("validation", "n_valid"),
    [
        ({"order": "experiment", "fraction": 0.1}, 8),
        ({"order": "time", "fraction": 0.25}, 20),
        ({"order": "group", "group": "batch", "fraction": 0.2}, 20),
    ],
)
def test_every_kind_of_validation_runs(validation: dict[str, Any], n_valid: int, run: Run) -> None:
    folds = run(validation=validation).folds
    assert set(folds["status"]) == {"ok"}
    assert set(folds["n_valid"]) == {n_valid}
    assert folds["valid_mape"].notna().all()


def test_early_stopping_uses_fewer_rounds(run: Run) -> None:
    result = run(
        validation={"early_stopping_rounds": 5, "order": "time"},
        predictors=[{"params": {"n_estimators": 500, "learning_rate": 0.5}}],
    )
    assert (result.folds["best_iteration"] < 490).all()
    assert (gpucv.Result.load(result.path).folds["best_iteration"] < 490).all()


def test_one_study_compares_formulations(run: Run) -> None:
    params = {"n_estimators": 40, "min_child_weight": 1}
    result = run(
        predictors=[
            {"name": "constant"},
            {"params": params},
            {"transform": "log", "params": params},
        ]
    )
    assert len(result.folds) == 9
    assert [verdict.formulation.label for verdict in result.verdicts] == [
        *("constant", "xgboost", "xgboost on log")
    ]
    mean = result.folds.groupby(["predictor", "transform"])["test_mape"].mean()
    assert mean["xgboost", "log"] < mean["constant", "raw"]


def test_labels_tell_two_predictors_of_one_kind_apart(run: Run) -> None:
    twins = [{"label": f"depth-{d}", "params": {"max_depth": d, "n_estimators": 3}} for d in (1, 4)]
    result = run(predictors=twins)
    assert set(result.folds["predictor"]) == {"depth-1", "depth-4"}
    assert len(result.verdicts) == 2


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"features": {"columns": ["batch", "lenght"]}}, DataError, "did you mean 'length'"),
        ({"features": {"columns": ["batch", "card"]}}, DataError, "which is no number"),
        ({"schemes": [{"name": "s", "hold_out": "gpu"}]}, DataError, "'gpu'"),
        (
            {"schemes": [{"name": "s", "hold_out": "card", "p": 3}]},
            DataError,
            "needs at least 4; the data has 3: 'a100', 'b200', 'h100'",
        ),
        (
            {
                "schemes": [
                    {"name": "s", "splitter": "KFold", "params": {"n_splits": 1_000_000_000}}
                ]
            },
            StudyError,
            "at most 100,000 folds are planned, found 1000000000",
        ),
        (
            {"schemes": [{"name": "s", "splitter": "GroupKFolds", "hold_out": "card"}]},
            StudyError,
            "did you mean 'GroupKFold'",
        ),
    ],
)
def test_what_cannot_be_split_or_learnt_from_is_refused(
    sections: dict[str, Any], error: type[Exception], message: str, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run(**sections)
    assert [path.name for path in tmp_path.iterdir()] == ["kernels.csv"]
