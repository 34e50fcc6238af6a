"""From files to the rows a study learns from."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import DataError, StudyError, TraceError
from gpucv.features import build_table
from gpucv.schema import DURATION_US, MODEL
from gpucv.study import study_from_dict
from gpucv.traces import ReadOptions, read_steps
from gpucv.workflow import prepare
from gpucv.workflow.rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.workflow.rows import StudyRows

    Rows = Callable[..., StudyRows]


def codes(rows: StudyRows) -> dict[str, str]:
    return {note.code: note.message for note in rows.notes}


def test_measurements_faster_than_light_are_left_out_and_counted(
    rows_of: Rows, kernels: pd.DataFrame
) -> None:
    table = kernels.assign(sol_us=np.where(kernels["size"] == 8, 1000.0, 1.0))
    table.loc[table["card"] == "a100", "sol_us"] = np.nan
    below = (table["t_us"] < table["sol_us"]).to_numpy()
    rows = rows_of(table, below_floor="drop")
    assert rows.frame["t_us"].tolist() == table.loc[~below, "t_us"].tolist()
    assert f"left out {below.sum()} of 120 rows with a t_us below" in codes(rows)["below_floor"]
    assert len(rows_of(table).frame) == 120
    assert "below_floor" not in codes(rows_of(table))


def test_steps_shorter_than_reading_the_weights_are_left_out_and_counted(
    step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    # 2 bytes of each weight over 3.35 TB/s per GPU: 3,945 us for 7B on 1, 9,994 us for 34B on 2.
    floor = few_steps["model"].map({"llama-2-7b": 3945, "codellama-34b": 9994})
    runs = few_steps["batch.scheduled_tokens"] > 0
    below = (runs & (few_steps[DURATION_US] < floor)).to_numpy()
    assert 0 < below.sum() < len(few_steps)
    for table in (few_steps, few_steps.drop(columns="gpu")):
        for features in ({}, {"set": "", "columns": ["batch.scheduled_tokens"]}):
            rows = step_rows(table, below_floor="drop", features=features)
            assert rows.frame[DURATION_US].tolist() == few_steps.loc[~below, DURATION_US].tolist()
            assert f"left out {below.sum()} of 160" in codes(rows)["below_floor"]


def test_nothing_left_above_the_floor_is_an_error(rows_of: Rows, kernels: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="all 120 rows have a t_us below the physical floor"):
        rows_of(kernels.assign(sol_us=1e9), below_floor="drop")


def test_repeats_become_their_median(shared_data: Path, tmp_path: Path) -> None:
    data = {"steps": [str(shared_data / "splitwise")], "target": "latency_us", "audit": "off"}
    study = {
        "features": {"columns": ["prompt_size"]},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
    }
    where = {"op": "token", "gpu": ["a100", "h100"]}
    wanted = {**data, "where": where, "repeats": "median"}
    rows = read_rows(study_from_dict({**study, "data": wanted}, base=tmp_path)).frame
    raw = pd.read_csv(shared_data / "splitwise" / "perf_model.csv")
    raw = raw[raw["hardware"].isin(["a100-80gb", "h100-80gb"])]
    point = ["model", "hardware", "tensor_parallel", "prompt_size", "batch_size", "token_size"]
    medians = raw.groupby(point)["token_time"].median() * 1000.0
    assert len(rows) == len(medians) < len(raw)
    np.testing.assert_allclose(np.sort(rows["latency_us"]), np.sort(medians.to_numpy()), rtol=1e-12)


def test_a_table_is_read_as_it_stands_where_asked(shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(shared_data / "splitwise" / "perf_model.csv", tmp_path)
    data = {"steps": ["perf_model.csv"], "target": "token_time", "audit": "off"}
    study = {
        "features": {"columns": ["prompt_size", "batch_size"]},
        "schemes": [{"name": "by-hardware", "hold_out": "hardware"}],
    }
    plain = {**study, "data": {**data, "format": "table"}}
    rows = read_rows(study_from_dict(plain, base=tmp_path)).frame
    raw = pd.read_csv(tmp_path / "perf_model.csv", float_precision="round_trip")
    assert rows["token_time"].tolist() == raw["token_time"].tolist()
    assert rows["hardware"].tolist() == raw["hardware"].tolist()
    with pytest.raises(TraceError, match=r"perf_model\.csv.*token_time"):
        read_rows(study_from_dict({**study, "data": data}, base=tmp_path))


def test_a_format_must_exist_and_fit_the_file(rows_of: Rows) -> None:
    with pytest.raises(StudyError, match=r"data\.format.*vidr"):
        rows_of(format="vidr")
    with pytest.raises(StudyError, match=r"kernels\.parquet.* is no file of format vidur"):
        rows_of(format="vidur")


@pytest.mark.parametrize("column", ["card", "workload"])
def test_a_constant_fills_an_empty_column_and_clashes_with_a_full_one(
    column: str, rows_of: Rows, kernels: pd.DataFrame
) -> None:
    schemes = [{"name": "random", "splitter": "KFold"}]
    table = kernels.assign(**{column: None})
    rows = rows_of(table, constants={column: "l40s"}, schemes=schemes)
    assert set(rows.frame[column]) == {"l40s"}
    table.loc[7, column] = "h100"
    with pytest.raises(StudyError, match=rf"data\.constants\.{column}: the data has a column"):
        rows_of(table, constants={column: "l40s"}, schemes=schemes)


def test_a_constant_cannot_pass_over_the_column_rows_are_held_out_by(rows_of: Rows) -> None:
    with pytest.raises(StudyError, match=r"data\.constants\.card: the data has a column"):
        rows_of(constants={"card": "h100"})


def test_unusable_rows_are_told_before_the_audit_speaks(
    step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match=r"the audit fails step\.duration_us"):
        step_rows(audit="stop")
    damaged = few_steps.assign(
        **{DURATION_US: few_steps[DURATION_US].where(lambda t: t.index != 5, -1)}
    )
    with pytest.raises(TraceError, match="1 of 160 rows cannot be used: 1 with negative"):
        step_rows(damaged, audit="stop")


@pytest.mark.parametrize("gpu", ["named", "not named"])
def test_columns_as_features_do_not_blind_the_audit(
    gpu: str, step_rows: Rows, few_steps: pd.DataFrame
) -> None:
    clocks = ["step.ts_start_ns", "step.ts_end_ns", *(["gpu"] if gpu != "named" else [])]
    with pytest.raises(DataError, match="read the model's weights once"):
        step_rows(
            few_steps.drop(columns=clocks),
            features={"set": "", "columns": ["batch.scheduled_tokens"]},
            audit="stop",
        )


def test_the_target_in_other_units_among_the_features_is_told(
    rows_of: Rows, kernels: pd.DataFrame
) -> None:
    table = kernels.assign(t_ms=kernels["t_us"] / 1000.0)
    rows = rows_of(table, audit="stop", features={"columns": ["size", "t_ms"]})
    assert "t_ms gives t_us away" in codes(rows)["leakage"]
    assert "leakage" not in codes(rows_of(table, audit="stop"))


def test_categories_give_the_table_that_text_gives(kernels: pd.DataFrame, tmp_path: Path) -> None:
    kernels.to_csv(tmp_path / "kernels.csv")
    study = {
        "data": {"steps": ["kernels.csv"], "target": "t_us", "experiment": "recording"},
        "features": {"columns": ["size"]},
        "schemes": [{"name": "cards", "hold_out": "card", "disjoint": ["op", "size"]}],
    }
    loaded = study_from_dict(study, base=tmp_path)
    tables = {}
    for labels in ("text", "category"):
        options = ReadOptions(labels=labels)  # type: ignore[arg-type]
        steps = read_steps(
            ["kernels.csv"], base=tmp_path, catalog=loaded.catalog, required=(), options=options
        )
        is_category = isinstance(steps.frame["card"].dtype, pd.CategoricalDtype)
        assert is_category == (labels == "category")
        tables[labels] = build_table(steps.frame, loaded.study, loaded.catalog)
    assert tables["text"].fingerprint == tables["category"].fingerprint
    ordered = kernels.sort_values("recording", kind="stable")["t_us"]
    assert tables["category"].y.tolist() == ordered.tolist()


def test_steps_as_categories_keep_fold_keys_and_order(
    few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    backwards = pd.concat([part for _, part in few_steps.groupby("experiment_id")][::-1])
    backwards.to_parquet(tmp_path / "steps.parquet")
    study = {"data": {"steps": ["steps.parquet"], "audit": "off"}}
    prepared = prepare(study_from_dict(study, base=tmp_path))
    text = build_table(backwards.astype({MODEL: str}), prepared.study, prepared.loaded.catalog)
    assert prepared.table.fingerprint == text.fingerprint


def test_data_that_moves_keeps_its_fingerprint_and_fold_keys(
    shared_data: Path, tmp_path: Path
) -> None:
    keys = []
    for folder in ("here", "over/there"):
        for part in ("a100/meta-llama/Llama-2-7b-hf", "h100/internlm/internlm-20b"):
            (tmp_path / folder / part).mkdir(parents=True)
            shutil.copy(shared_data / "vidur" / part / "mlp.csv", tmp_path / folder / part)
        data = {"steps": [folder], "target": "latency_us", "experiment": "source_file"}
        study = {
            "data": {**data, "where": {"op": "mlp_up_proj"}, "audit": "off"},
            "features": {"columns": ["m", "n", "k"]},
            "schemes": [{"name": "files", "hold_out": "source_file"}],
        }
        prepared = prepare(study_from_dict(study, base=tmp_path))
        assert prepared.table.keys["source_file"].names == (
            "a100/meta-llama/Llama-2-7b-hf/mlp.csv",
            "h100/internlm/internlm-20b/mlp.csv",
        )
        keys.append((prepared.table.fingerprint, [task.key for task in prepared.tasks]))
    assert keys[0] == keys[1]
