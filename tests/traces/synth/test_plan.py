from __future__ import annotations

import pytest

from gpucv.errors import StudyError
from gpucv.traces.synth.plan import MAXIMUM_ROWS, MINIMUM_ROWS, plan_recordings
from gpucv.traces.synth.settings import load_settings


def test_by_default_every_experiment_has_its_published_rows_from_ten_times_as_many_steps() -> None:
    plans = plan_recordings(None)
    assert sum(plan.rows for plan in plans) == 122_752
    assert [(p.experiment_id, p.rows) for p in plans] == [
        (e.id, e.rows) for e in load_settings().experiments
    ]
    assert all(plan.steps == 10 * plan.rows and plan.stage_s == 600 for plan in plans)


@pytest.mark.parametrize("rows", [MINIMUM_ROWS, 2_000, 122_751, 122_753, 1_227_521, 10_000_000])
def test_any_number_of_rows_is_met_exactly_in_the_published_proportions(rows: int) -> None:
    plans = plan_recordings(rows)
    assert sum(plan.rows for plan in plans) == rows
    assert all(0 < plan.rows <= plan.steps for plan in plans)
    for experiment in load_settings().experiments:
        share = sum(plan.rows for plan in plans if plan.experiment == experiment)
        assert share == pytest.approx(rows * experiment.rows / 122_752, abs=2)


def test_replicas_are_runs_of_their_own_and_sort_by_id() -> None:
    plans = plan_recordings(3_000_000)
    ids = [plan.experiment_id for plan in plans]
    assert len(ids) == len(set(ids)) == 48
    assert ids == sorted(ids)


@pytest.mark.parametrize("rows", [-1, 0, MINIMUM_ROWS - 1])
def test_too_few_rows_are_refused(rows: int) -> None:
    with pytest.raises(StudyError, match=f"rows is {rows}: too few .* at least {MINIMUM_ROWS}"):
        plan_recordings(rows)


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(StudyError, match="make several tables"):
        plan_recordings(MAXIMUM_ROWS + 1)
