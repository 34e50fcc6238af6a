from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.traces import read_steps
from gpucv.traces.targets import derive_targets

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.catalog import Catalog

START = 20_020_938_183_118


def recording(gaps_us: list[float], **columns: Any) -> pd.DataFrame:
    """One row more than gaps: consecutive steps, each gap after its step."""
    rows = len(gaps_us) + 1
    starts = START + np.concatenate([[0], np.cumsum(gaps_us)]) * 1000
    table: dict[str, Any] = {
        "experiment_id": "e1",
        "step.id": np.arange(rows),
        "step.ts_start_ns": starts.astype("int64"),
        "queue.running_depth": 4,
        "queue.waiting_depth": 0,
        "batch.scheduled_tokens": 4,
        "batch.num_finished": [0] * (rows - 1) + [1],
    }
    return pd.DataFrame({**table, **columns})


def cycles(frame: pd.DataFrame) -> list[float]:
    values: list[float] = derive_targets(frame)[0]["step.cycle_us"].tolist()
    return values


def test_the_cycle_ends_where_the_next_step_starts() -> None:
    frame = recording([18_998.562, 20_000.0, 7.001])
    assert cycles(frame)[:3] == [18_998.562, 20_000.0, 7.001]
    assert np.isnan(cycles(frame)[3]), "the last step has no successor"


def test_rows_in_any_order_and_of_several_recordings_find_their_own_successor() -> None:
    first, second = recording([10.0, 20.0]), recording([500.0, 600.0], experiment_id="e2")
    shuffled = pd.concat([first, second]).sample(frac=1, random_state=3).reset_index(drop=True)
    done = derive_targets(shuffled)[0].sort_values(["experiment_id", "step.id"])
    expected = [10.0, 20.0, np.nan, 500.0, 600.0, np.nan]
    np.testing.assert_array_equal(done["step.cycle_us"], expected)


def test_a_step_whose_successor_was_not_recorded_has_no_cycle() -> None:
    frame = recording([10.0, 20.0, 30.0]).drop(index=2)
    frame, (note,) = derive_targets(frame)
    np.testing.assert_array_equal(frame["step.cycle_us"], [10.0, np.nan, np.nan])
    assert (note.code, note.count, note.level) == ("cycle_us", 1, "info")
    assert note.message.startswith("step.cycle_us: 1 of 3 steps have their successor recorded; 2")


def test_nanoseconds_beyond_float_precision_are_subtracted_exactly() -> None:
    start = 2**60 + 1
    frame = recording([1.0]).assign(**{"step.ts_start_ns": [start, start + 1_001]})
    assert cycles(frame)[0] == 1.001


def test_the_scheduler_call_lasts_from_start_to_end() -> None:
    frame = recording([10.0]).assign(**{"step.ts_end_ns": [START + 682_748, START + 10_001]})
    assert derive_targets(frame)[0]["step.schedule_us"].tolist() == [682.748, 0.001]


def test_columns_already_there_are_kept_and_tables_without_clocks_left_alone() -> None:
    frame = recording([10.0], **{"step.cycle_us": 5.0, "step.schedule_us": 6.0})
    assert derive_targets(frame) == (frame, ())
    bare = recording([10.0]).drop(columns="step.ts_start_ns")
    assert derive_targets(bare)[0] is bare


def test_an_engine_that_finished_everything_was_idle() -> None:
    # After step 1 its four requests were finished, as step 2 counts them: 30 us of idling.
    finished = {"batch.num_finished": [0, 1, 4, 0, 0]}
    frame, (note,) = derive_targets(recording([10.0, 30.0, 10.0, 10.0], **finished))
    np.testing.assert_array_equal(frame["step.cycle_us"], [10.0, np.nan, 10.0, 10.0, np.nan])
    assert "1 idle gaps" in note.message
    waiting = recording([10.0, 30.0, 10.0, 10.0], **finished, **{"queue.waiting_depth": 1})
    assert cycles(waiting)[1] == 30.0, "with requests waiting the engine went on"


def test_a_stall_with_requests_left_is_a_real_cycle() -> None:
    frame = recording([10.0] * 9 + [900.0])
    assert cycles(frame)[9] == 900.0


@pytest.mark.parametrize("missing", ["queue.running_depth", "batch.num_finished", "zeros"])
def test_without_counts_a_gap_of_twenty_medians_is_idle(missing: str) -> None:
    gaps = [10.0] * 9 + [199.0, 201.0]
    frame = recording(gaps)
    if missing == "zeros":  # a recorder that does not count the finished
        frame["batch.num_finished"] = 0
    else:
        frame = frame.drop(columns=missing)
    assert np.isnan(cycles(frame)[10])
    assert cycles(frame)[9] == 199.0
    assert cycles(frame.assign(**{"queue.waiting_depth": 2}))[10] == 201.0


def test_a_long_prompt_is_no_idle_gap() -> None:
    frame = recording([10.0] * 9 + [400.0, 10.0]).drop(columns="batch.num_finished")
    assert np.isnan(cycles(frame)[9])
    frame.loc[9, "batch.scheduled_tokens"] = 12  # three times the median: up to 600 us
    assert cycles(frame)[9] == 400.0


def test_a_step_without_a_token_runs_no_model() -> None:
    tokens = {"batch.scheduled_tokens": [4, 0, 4]}
    frame, (note,) = derive_targets(recording([10.0, 20.0], **tokens))
    np.testing.assert_array_equal(frame["step.cycle_us"], [10.0, np.nan, np.nan])
    assert "1 steps without a token" in note.message


def test_a_clock_that_goes_backwards_is_told() -> None:
    frame, (note,) = derive_targets(recording([10.0, -5.0, 0.0, 10.0]))
    np.testing.assert_array_equal(frame["step.cycle_us"], [10.0, np.nan, np.nan, 10.0, np.nan])
    assert note.level == "warning"
    assert "2 where the clock went backwards" in note.message


def test_repeated_step_numbers_have_no_successor() -> None:
    frame, (note,) = derive_targets(recording([10.0] * 3, **{"step.id": [0, 1, 1, 2]}))
    assert frame["step.cycle_us"].isna().all()
    assert note.level == "warning"
    assert "repeated step numbers" in note.message


def test_missing_numbers_have_no_cycle() -> None:
    starts = [START, None, START + 20_000]
    frame = recording([10.0, 10.0]).assign(**{"step.ts_start_ns": starts})
    assert frame["step.ts_start_ns"].dtype == "float64"
    assert derive_targets(frame)[0]["step.cycle_us"].isna().all()
    unnamed = recording([10.0, 10.0]).assign(experiment_id=None)
    assert derive_targets(unnamed)[0]["step.cycle_us"].isna().all()


def test_a_table_without_recordings_is_one_recording() -> None:
    assert cycles(recording([10.0]).drop(columns="experiment_id"))[0] == 10.0


def test_text_where_the_clock_belongs_is_refused() -> None:
    frame = recording([10.0]).assign(**{"step.ts_start_ns": "soon"})
    with pytest.raises(TraceError, match=r"'step.ts_start_ns' holds .*, not numbers"):
        derive_targets(frame)


def test_no_cycle_of_the_public_recordings_is_left_out(shared_data: Path, catalog: Catalog) -> None:
    read = read_steps(["vllm-steps"], base=shared_data, catalog=catalog, required=[])
    frame, (note,) = derive_targets(read.frame)
    assert note.message == (
        "step.cycle_us: 1,309 of 13,433 steps have their successor recorded; "
        "12,124 have not (a 10 % sample keeps one pair in ten)"
    )
    for path in (shared_data / "vllm-steps").glob("*.parquet"):
        raw = pd.read_parquet(path).sort_values("step.id")
        pairs = raw["step.id"].diff() == 1
        expected = (raw["step.ts_start_ns"].diff() / 1000)[pairs]
        mine = frame[frame["experiment_id"] == path.stem].sort_values("step.id")
        found = mine["step.cycle_us"].dropna()
        np.testing.assert_array_equal(found, expected)
        assert len(found) == {"llama-2-70b": 593, "codellama-34b": 716}[mine["model"].iloc[0]]
        assert found.max() / found.median() < 2.6
