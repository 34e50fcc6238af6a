from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import SplitError, StudyError, TraceError
from gpucv.study import study_from_dict
from gpucv.workflow import prepare
from gpucv.workflow.preparation import locate_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from gpucv.workflow import PreparedStudy

    Prepare = Callable[..., PreparedStudy]


@pytest.fixture
def prepared(study: dict[str, Any], tmp_path: Path) -> Prepare:
    """Prepare the study with changes to its data section, or to other sections."""

    def start(limit: int | None = None, data: dict[str, Any] | None = None, **more: Any) -> Any:
        raw = {**study, "data": {**study["data"], **(data or {})}, **more}
        return prepare(study_from_dict(raw, base=tmp_path), limit)

    return start


def located(pattern: str, base: Path) -> str:
    loaded = study_from_dict({"data": {"steps": [pattern]}}, base=base)
    return locate_steps(loaded).study.data.steps[0]


def test_steps_are_looked_for_beside_the_study_then_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("beside", "current"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "both.csv").touch()
    (tmp_path / "current" / "one.csv").touch()
    monkeypatch.chdir(tmp_path / "current")
    beside = tmp_path / "beside"
    assert located("both.csv", beside) == str(beside / "both.csv")
    assert located("one.csv", beside) == str(tmp_path / "current" / "one.csv")
    assert located("o*.csv", beside) == str(tmp_path / "current" / "o*.csv")
    assert located("../beside/both.csv", beside) == str(beside / "both.csv")
    assert located(str(beside / "gone.csv"), beside) == str(beside / "gone.csv")


def test_both_places_are_named_where_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    with pytest.raises(StudyError, match=rf"'x.csv' in {tmp_path} .*or in {tmp_path}/current"):
        located("x.csv", tmp_path)


@pytest.mark.parametrize(
    "pattern", ["", "  ", "a**b", "nul\0byte", "~nobody-of-that-name/x", "[z-a]"]
)
def test_a_pattern_that_means_nothing_is_refused(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data\.steps"):
        located(pattern, tmp_path)


def test_a_study_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data\.steps is empty"):
        prepare(study_from_dict({}, base=tmp_path))


def test_a_limit_keeps_the_first_steps_of_every_experiment(
    prepared: Prepare, few_steps: pd.DataFrame
) -> None:
    table = prepared(limit=3).table
    first = few_steps.sort_values("step.id").groupby("experiment_id")["step.id"].head(3)
    assert sorted(table.step_id) == sorted(first)


def test_row_order_in_the_file_changes_nothing(
    prepared: Prepare, few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    before = prepared().origin()
    few_steps.sample(frac=1, random_state=1).to_parquet(tmp_path / "steps.parquet")
    after = prepared().origin()
    assert before["data_fingerprint"] == after["data_fingerprint"]
    assert before["data"] != after["data"]


def test_constants_fill_columns_the_data_lacks(
    prepared: Prepare, few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.drop(columns="gpu").to_parquet(tmp_path / "steps.parquet")
    assumed = prepared()
    assert [note.code for note in assumed.notes if note.code == "gpu_assumed"]
    named = prepared(data={"constants": {"gpu": "h100"}})
    assert not [note.code for note in named.notes if note.code == "gpu_assumed"]
    assert assumed.table.fingerprint == named.table.fingerprint


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("step.duration_us", -1, "negative step.duration_us"),
        ("step.duration_us", None, "missing step.duration_us"),
        ("model", None, "missing model"),
        ("step.id", 0, "repeated experiment_id"),
    ],
)
def test_bad_rows_stop_a_study_or_are_dropped_and_counted(
    column: str,
    value: object,
    message: str,
    prepared: Prepare,
    few_steps: pd.DataFrame,
    tmp_path: Path,
) -> None:
    broken = few_steps.copy()
    if column == "step.id":
        broken.loc[1, column] = broken.loc[0, column]
    else:
        broken[column] = broken[column].astype(object if column == "model" else "float64")
        broken.loc[1, column] = value
    broken.to_parquet(tmp_path / "steps.parquet")
    with pytest.raises(TraceError, match=f"1 of 160 rows cannot be used: 1 with {message}"):
        prepared()
    dropped = prepared(data={"bad_rows": "drop"})
    assert len(dropped.table) == 159
    assert [note.count for note in dropped.notes if note.code.startswith("dropped_")] == [1]


def test_zero_targets_train_and_are_noted(
    prepared: Prepare, few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.assign(**{"step.duration_us": [0, *few_steps["step.duration_us"][1:]]}).to_parquet(
        tmp_path / "steps.parquet"
    )
    found = prepared()
    assert len(found.table) == 160
    (note,) = [note for note in found.notes if note.code == "zero_target"]
    assert note.count == 1


def test_groups_that_cannot_be_held_out_are_named_before_features_are_computed(
    prepared: Prepare,
) -> None:
    with pytest.raises(SplitError, match="the data has 2: 'codegen', 'general'"):
        prepared(schemes=[{"name": "lowo", "hold_out": "workload", "p": 2}])
