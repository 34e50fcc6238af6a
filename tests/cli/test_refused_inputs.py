"""What cannot be run is refused in one line, with the right code, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]
    Table = Callable[[pd.DataFrame], pd.DataFrame]


def assert_refused(outcome: Outcome, code: int, message: str, folder: Path) -> None:
    assert outcome.err.startswith("gpucv: error: "), outcome.err
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert (outcome.code, outcome.out) == (code, "")
    assert not (folder / "run").exists()
    assert not (folder / "runs").exists()


def with_value(column: str, value: object) -> Table:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object)
        values.iloc[5] = value
        kind = {str: str, int: "float64", type(None): "float64"}[type(value)]
        return table.assign(**{column: values.astype(kind)})  # type: ignore[call-overload]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_value("step.duration_us", -7), "1 with negative step.duration_us (first: row 6"),
        (with_value("step.duration_us", None), "1 with missing step.duration_us (first: row 6"),
        (lambda table: table.assign(**{"step.duration_us": 0}), "is zero in all 160 rows"),
        (lambda table: pd.concat([table, table[:2]]), "2 with repeated experiment_id + step.id"),
        (with_value("model", "gpt-5-nano"), "gpt-5-nano"),
        (with_value("model", ""), "1 with missing model"),
        (lambda table: table[table["workload"] == "general"], "the data has 1: 'general'"),
        (lambda table: table[:0], "no rows"),
        (lambda table: table.drop(columns="step.duration_us"), "'step.duration_us'"),
        (lambda table: table.drop(columns="model"), "'model'"),
        (lambda table: table.assign(**{"step.duration_us": "fast"}), "holds string"),
    ],
)
def test_rows_that_cannot_be_used_are_code_3(
    change: Table, message: str, gpucv: Command, study: Path, few_steps: pd.DataFrame
) -> None:
    change(few_steps).to_parquet(study.parent / "steps.parquet")
    assert_refused(gpucv("run", study, "--out", "run"), 3, message, study.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "steps.parquet"),
        (lambda whole: whole[:3], "steps.parquet"),
        (lambda _: b"", "steps.parquet"),
        (lambda _: b"not a table at all", "steps.parquet"),
    ],
)
def test_a_damaged_parquet_file_is_code_3(
    content: Callable[[bytes], bytes], message: str, gpucv: Command, study: Path
) -> None:
    path = study.parent / "steps.parquet"
    path.write_bytes(content(path.read_bytes()))
    assert_refused(gpucv("run", study, "--out", "run"), 3, message, study.parent)


def test_a_table_with_one_column_twice_is_code_3(gpucv: Command, study: Path) -> None:
    (study.parent / "twice.csv").write_text("a,b,a\n1,2,3\n4,5,6\n", encoding="utf-8")
    outcome = gpucv(
        *("run", study, "--out", "run", "--set", 'data.steps=["twice.csv"]'),
        *("--set", "data.target=a", "--set", 'features={set="",columns=["b"]}'),
        *("--set", "schemes=[{name='s',hold_out='b'}]"),
    )
    assert_refused(outcome, 3, "'a'", study.parent)


def test_a_recording_without_a_single_step_is_code_3(gpucv: Command, study: Path) -> None:
    folder = study.parent / "20260217-202857-llama-2-70b-tp4-general"
    folder.mkdir()
    span = '{"name":"engine","spans":[{"name":"x","events":[{"name":"request.SUMMARY"}]}]}'
    (folder / "traces.json").write_text(
        '{"resourceSpans":[{"scopeSpans":[%s]}]}\n' % span,  # noqa: UP031 - braces everywhere
        encoding="utf-8",
    )
    outcome = gpucv("run", study, "--out", "run", "--set", f'data.steps=["{folder.name}"]')
    assert_refused(outcome, 3, "step.BATCH_SUMMARY", study.parent)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('data.steps=["stepz.parquet"]', "stepz.parquet"),
        ("data.steps=[]", "data.steps is empty"),
        ('data.steps=[""]', "empty name"),
        ("predictors.0.params.n_estimators=0", "n_estimators"),
        ("predictors.0.params.n_estimators=1000000000", "n_estimators"),
        ("predictors.0.params.max_depth=-3", "max_depth"),
        ("predictors.0.name=xgbost", "did you mean 'xgboost'"),
        ("predictors.0.transform=sqrt", "transform"),
        ("execution.device=gpu", "execution.device"),
        ("execution.workers=-1", "execution.workers"),
        ("validation.fraction=1.0", "validation.fraction"),
        ("validation.fraction=nan", "validation.fraction"),
        ("seed=4.5", "seed"),
        ("verdict.mape_max=0", "verdict.mape_max"),
        ("schemes=[]", "schemes is empty"),
        ("schemes.0={name='s'}", "needs hold_out"),
        ("data.tagret=x", "did you mean 'target'"),
        ("schema=2", "schema 2 is not known"),
    ],
)
def test_a_value_out_of_bounds_is_code_2(
    override: str, message: str, gpucv: Command, study: Path
) -> None:
    outcome = gpucv("run", study, "--out", "run", "--set", override)
    assert_refused(outcome, 2, message, study.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "is not a TOML file"),
        (b"seed = 1\nseed = 2\n", "is not a TOML file"),
        (b"name = '\xff'", "is not a TOML file"),
        (b"a = " + b"[" * 50_000, "nested too deeply"),
        (b"# " + b"x" * 2_000_000, "too large"),
        (b"seed = " + b"9" * 5000, "study.toml"),
    ],
)
def test_a_file_that_is_no_study_is_code_2(
    content: bytes, message: str, gpucv: Command, study: Path
) -> None:
    study.write_bytes(content)
    assert_refused(gpucv("run", study, "--out", "run"), 2, message, study.parent)


@pytest.mark.parametrize("command", ["run", "features"])
def test_a_place_that_cannot_be_written_is_code_4(
    command: str, gpucv: Command, study: Path
) -> None:
    outcome = gpucv(command, study, "--out", "steps.parquet/below")
    assert_refused(outcome, 4, "steps.parquet", study.parent)


def test_a_folder_in_use_is_code_4_and_left_alone(gpucv: Command, study: Path) -> None:
    before = sorted(study.parent.iterdir())
    assert_refused(gpucv("run", study, "--out", "."), 4, "not an empty folder", study.parent)
    assert sorted(study.parent.iterdir()) == before


def test_a_resumed_folder_that_is_no_run_is_code_3(gpucv: Command, study: Path) -> None:
    for folder in (".", "absent"):
        outcome = gpucv("resume", folder)
        assert_refused(outcome, 3, "is this a run folder", study.parent)
