"""Targets made from the steps' clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.schema import CYCLE_US, SCHEDULE_US
from gpucv.study import study_from_dict
from gpucv.workflow.rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.workflow.rows import StudyRows

    Rows = Callable[..., StudyRows]


def codes(rows: StudyRows) -> dict[str, str]:
    return {note.code: note.message for note in rows.notes}


def by_hand(table: pd.DataFrame) -> pd.Series[float]:
    """The start of the step with the next number minus this one's, us."""
    nth = table.set_index(["experiment_id", "step.id"])["step.ts_start_ns"]
    following = [(name, step + 1) for name, step in nth.index]
    gaps = (nth.reindex(following).to_numpy() - nth.to_numpy()) / 1000.0
    return pd.Series(gaps, index=table.index)


def test_the_cycle_is_derived_and_steps_without_a_successor_are_left_out(
    shared_data: Path, tmp_path: Path
) -> None:
    raw = pd.concat(
        pd.read_parquet(path) for path in sorted((shared_data / "vllm-steps").glob("*.parquet"))
    ).reset_index(drop=True)
    cycle = by_hand(raw)
    study = {"data": {"steps": [str(shared_data / "vllm-steps")], "target": CYCLE_US}}
    study["schemes"] = [{"name": "lomo", "hold_out": "model"}]  # type: ignore[assignment]
    rows = read_rows(study_from_dict(study, base=tmp_path))
    assert len(rows.frame) == cycle.notna().sum() == 1309
    np.testing.assert_allclose(rows.frame[CYCLE_US], cycle.dropna(), rtol=1e-12)
    assert "1,309 of 13,433 steps have their successor" in codes(rows)["cycle_us"]
    assert rows.audit is not None
    assert rows.audit.rows == 13433


def test_a_cycle_the_file_holds_is_kept_and_its_gaps_are_told(
    step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    given = np.where(np.arange(160) % 4 == 0, np.nan, np.arange(160) + 20_000.0)
    rows = step_rows(few_steps.assign(**{CYCLE_US: given}), target=CYCLE_US)
    assert rows.frame[CYCLE_US].tolist() == given[~np.isnan(given)].tolist()
    told = f"{CYCLE_US} is empty in 40 of 160 rows, which are left out"
    assert codes(rows)["target_absent"] == told


@pytest.mark.parametrize("target", [CYCLE_US, SCHEDULE_US])
def test_a_table_without_clocks_has_no_derived_target(
    target: str, step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    table = few_steps.drop(columns=["step.ts_start_ns", "step.ts_end_ns"])
    with pytest.raises(TraceError, match=rf"{target} is derived from .*no 'step\.ts_start_ns'"):
        step_rows(table, target=target)


def test_no_pair_of_consecutive_steps_is_told_in_one_line(
    step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    table = few_steps.assign(**{"step.id": few_steps["step.id"] * 3})
    with pytest.raises(TraceError, match="no step's successor is recorded in 160 rows") as told:
        step_rows(table, target=CYCLE_US)
    assert "\n" not in str(told.value)


def test_a_selection_without_any_derived_target_says_so(
    step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    cut = few_steps["workload"] == "codegen"
    step = few_steps["step.id"].where(~cut, few_steps["step.id"] * 3)
    with pytest.raises(TraceError, match=r"none of the 80 rows that data\.where selects has"):
        step_rows(
            few_steps.assign(**{"step.id": step}), target=CYCLE_US, where={"workload": "codegen"}
        )


def test_a_derived_time_can_be_a_feature_of_another_target(
    step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    rows = step_rows(features={"columns": [SCHEDULE_US]}).frame
    clock = few_steps["step.ts_end_ns"] - few_steps["step.ts_start_ns"]
    np.testing.assert_allclose(rows[SCHEDULE_US], clock / 1000.0)
    with pytest.raises(TraceError, match="name another column"):
        step_rows(few_steps.drop(columns="step.ts_end_ns"), features={"columns": [SCHEDULE_US]})
