"""Folds of predictors fitted per group, over tails, in sample, and what is refused beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import DataError, SplitError, StudyError
from gpucv.features import build_table
from gpucv.folds import plan_folds, plan_rows, run_fold
from gpucv.folds.sharing import shared_table
from gpucv.runs import FoldRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.runs import FoldArrays
    from gpucv.study import LoadedStudy

    Load = Callable[..., LoadedStudy]
    Build = Callable[[LoadedStudy], FeatureTable]
    Run = Callable[..., list[tuple[FoldRecord, FoldArrays]]]

CONSTANT = {"name": "constant"}
LOMO = {"name": "lomo", "hold_out": "model"}
TAILS = {"name": "tails", "hold_out": "experiment_id", "temporal": [0.6, 0.2]}
IN_SAMPLE = {"name": "in", "splitter": "Resubstitution"}
NO_VALIDATION = {"validation": {"fraction": 0}}


@pytest.fixture
def run(loaded: Load, table_of: Build) -> Run:
    """Run every fold of a study of one predictor and scheme."""

    def every(
        predictor: dict[str, Any], scheme: dict[str, Any], **sections: Any
    ) -> list[tuple[FoldRecord, FoldArrays]]:
        study = loaded(predictors=[predictor], schemes=[scheme], **sections)
        table = table_of(study)
        found = []
        with shared_table(table):
            for task in plan_folds(study.study, table):
                record, arrays = run_fold(task)
                assert record.status == "ok", record.error
                assert arrays is not None
                found.append((record, arrays))
        return found

    return every


@pytest.fixture
def recordings(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The times of every recording in the order of its steps."""
    ordered = frame.sort_values(["experiment_id", "step.id"])
    return {
        str(name): rows["time_us"].to_numpy() for name, rows in ordered.groupby("experiment_id")
    }


def ape(actual: np.ndarray, predicted: float) -> float:
    return float(100 * np.mean(np.abs(predicted / actual - 1)))


def test_tails_per_recording_are_predicted_by_their_own_heads_and_watched_by_their_own_middles(
    run: Run, recordings: dict[str, np.ndarray]
) -> None:
    folds = run({**CONSTANT, "per": "experiment_id"}, TAILS)
    assert [record.holdout for record, _ in folds] == list(recordings)
    for (record, arrays), times in zip(folds, recordings.values(), strict=True):
        own = np.median(times[:12])
        np.testing.assert_array_equal(arrays.predicted, np.full(4, own))
        np.testing.assert_array_equal(arrays.actual, times[16:])
        assert record.scores["valid_mape"] == pytest.approx(ape(times[12:16], own))
        assert (record.n_train, record.n_valid, record.n_test) == (96, 24, 4)
        assert record.donors == []


def test_tails_in_common_are_predicted_by_the_heads_of_all(
    run: Run, recordings: dict[str, np.ndarray]
) -> None:
    heads = np.median(np.concatenate([times[:12] for times in recordings.values()]))
    for record, arrays in run(CONSTANT, TAILS):
        np.testing.assert_array_equal(arrays.predicted, np.full(4, heads))
        middles = [ape(times[12:16], heads) for times in recordings.values()]
        assert record.scores["valid_mape"] == pytest.approx(np.mean(middles))


def test_in_sample_all_rows_are_fitted_to_and_tested(
    run: Run, recordings: dict[str, np.ndarray]
) -> None:
    every = np.concatenate(list(recordings.values()))
    ((record, arrays),) = run(CONSTANT, IN_SAMPLE)
    np.testing.assert_array_equal(arrays.predicted, np.full(120, np.median(every)))
    assert record.scores["test_mape"] == pytest.approx(ape(every, np.median(every)))
    assert (record.holdout, record.n_train, record.n_test) == ("in-sample", 120, 120)
    assert record.n_valid == 30
    tail = every[90:]
    assert record.scores["valid_mape"] == pytest.approx(ape(tail, np.median(every)))


@pytest.mark.parametrize("rule", ["elsewhere", "nearest"])
@pytest.mark.parametrize("per", ["model", "experiment_id"])
def test_every_donor_is_scored_on_the_group_held_out_and_the_rule_lies_between_best_and_worst(
    rule: str, per: str, run: Run, recordings: dict[str, np.ndarray]
) -> None:
    for record, arrays in run({**CONSTANT, "per": per, "donor": rule}, LOMO, **NO_VALIDATION):
        codes, names = arrays.experiment
        of_row = np.array([names[code] for code in codes])
        if per == "model":
            of_row = np.array([name[0] for name in of_row])
        assert {row["group"] for row in record.donors} == set(of_row)
        for group in set(of_row):
            here = of_row == group
            rows = [row for row in record.donors if row["group"] == group]
            scores = {row["donor"]: row["test_mape"] for row in rows}
            assert len(scores) == len(rows) == (2 if per == "model" else 4)
            for donor, found in scores.items():
                own = np.concatenate(
                    [t for name, t in recordings.items() if name.startswith(donor)]
                )
                assert found == pytest.approx(ape(arrays.actual[here], np.median(own)))
            (chosen,) = [row for row in rows if row["by_rule"]]
            assert min(scores.values()) <= chosen["test_mape"] <= max(scores.values())
            assert chosen["donor"] == record.chosen["donors"][group]["donor"]
            assert chosen["test_mape"] == pytest.approx(
                ape(arrays.actual[here], arrays.predicted[here][0])
            )
            assert all(row["n_test"] == here.sum() for row in rows)


def test_a_record_with_donors_and_a_curve_reads_back_as_it_was_written(run: Run) -> None:
    few = {**LOMO, "few_shot": {"k": [0, 3], "repeats": 1}}
    record, _ = run({**CONSTANT, "per": "model"}, few, **NO_VALIDATION)[0]
    assert record.donors
    assert record.curve
    broken = [{**record.donors[0], "test_mape": float("inf")}, *record.donors[1:]]
    from dataclasses import replace

    for each in (record, replace(record, donors=broken)):
        assert FoldRecord.from_json_object(each.to_json_object()) == each


def test_a_validation_that_takes_a_whole_group_from_a_predictor_per_group_is_refused(
    loaded: Load, table_of: Build
) -> None:
    study = loaded(predictors=[{**CONSTANT, "per": ["model", "workload"]}], schemes=[LOMO])
    told = (
        r"fitted per model x workload, and validation takes all training rows of 'c x code' "
        r"\(holding 'a' out\); use validation.order = 'time', or fraction = 0"
    )
    with pytest.raises(SplitError, match=told):
        plan_folds(study.study, table_of(study))
    for validation in ({"order": "time"}, {"fraction": 0}):
        study = loaded(
            predictors=[{**CONSTANT, "per": ["model", "workload"]}],
            schemes=[LOMO],
            validation=validation,
        )
        assert plan_folds(study.study, table_of(study))


def test_validation_rows_of_the_groups_not_asked_for_are_not_scored(
    run: Run, recordings: dict[str, np.ndarray]
) -> None:
    """A fold that tests one recording fits that one alone, and has no answer for others."""
    scheme = {"name": "parts", "splitter": "GroupKFold", "hold_out": "workload"}
    folds = run(
        {**CONSTANT, "per": "model"},
        {**scheme, "params": {"n_splits": 2}},
        validation={"order": "time"},
    )
    assert all(np.isfinite(record.scores["valid_mape"]) for record, _ in folds)


def test_tails_of_groups_of_several_recordings_are_refused(loaded: Load, table_of: Build) -> None:
    study = loaded(schemes=[{**TAILS, "hold_out": "model"}])
    told = (
        "scheme 'tails': temporal takes the tail of a recording, and group 'a' of model holds 2 "
        "of them; hold_out = 'experiment_id'"
    )
    with pytest.raises(SplitError, match=told):
        plan_folds(study.study, table_of(study))


@pytest.mark.parametrize(
    ("column", "option"), [("step.id", "order_by"), ("experiment_id", "experiment")]
)
def test_tails_need_recordings_and_an_order_of_time(
    column: str, option: str, loaded: Load, frame: pd.DataFrame
) -> None:
    whole = {"name": "in", "hold_out": "model"}
    loose = loaded(schemes=[whole])
    assert len(build_table(frame.drop(columns=column), loose.study, loose.catalog)) == 120
    study = loaded(schemes=[whole, {**TAILS, "hold_out": ["model", "workload"]}])
    told = f"scheme 'tails': temporal .* no column '{column}'; name one in data.{option}"
    with pytest.raises(DataError, match=told):
        build_table(frame.drop(columns=column), study.study, study.catalog)


def test_a_fold_tells_the_seed_its_predictor_drew_by(loaded: Load, table_of: Build) -> None:
    study = loaded(predictors=[{**CONSTANT, "seed": 8}, {**CONSTANT, "label": "other"}])
    table = table_of(study)
    tasks = plan_folds(study.study, table)
    assert [row["seed"] for row in plan_rows(tasks)][:2] == [8, 42]
    with shared_table(table):
        assert [run_fold(task)[0].seed for task in tasks[:2]] == [8, 42]


def test_a_baselines_parameters_are_checked_before_any_fold_and_written_out(
    loaded: Load, table_of: Build
) -> None:
    def planned(params: dict[str, Any]) -> Any:
        study = loaded(
            predictors=[
                {**CONSTANT, "transform": "ratio", "baseline": "ridge", "baseline_params": params}
            ]
        )
        return plan_folds(study.study, table_of(study))[0]

    assert planned({}).predictor.baseline_params == {"alpha": 1.0}
    assert planned({}).key == planned({"alpha": 1.0}).key != planned({"alpha": 2.0}).key
    with pytest.raises(StudyError, match="predictor 'ridge': unknown parameter 'alhpa'"):
        planned({"alhpa": 2.0})
