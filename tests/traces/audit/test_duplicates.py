from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpucv.traces.audit.duplicates import copied_files, repeated_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]


def test_rows_equal_in_every_column_are_counted(gemms: Make, subject_of: Subjects) -> None:
    table = gemms(10, note="x")
    table.loc[3, "k"] = np.nan
    whole = pd.concat([table, table.head(4), table.head(1)], ignore_index=True)
    duplicates, repeats = repeated_rows(subject_of(whole))
    assert (duplicates.code, duplicates.level) == ("duplicate_rows", "warning")
    assert duplicates.figures["extra"] == whole.duplicated().sum() == 5
    assert duplicates.figures["rows"] == whole.duplicated(keep=False).sum() == 9
    assert repeats.code == "repeated_points"
    assert repeated_rows(subject_of(table)) == []


def test_a_point_measured_twice_is_no_duplicate(gemms: Make, subject_of: Subjects) -> None:
    table = pd.concat([gemms(10), gemms(3, latency_us=1e6)])
    (finding,) = repeated_rows(subject_of(table))
    assert (finding.code, finding.level) == ("repeated_points", "info")
    assert (finding.figures["keys"], finding.figures["rows"]) == (3, 6)


def test_a_step_that_stands_twice_is_told(steps: Make, subject_of: Subjects) -> None:
    table = pd.concat([steps(10), steps(2, **{"step.duration_us": 7.0})])
    (finding,) = repeated_rows(subject_of(table))
    assert (finding.code, finding.level) == ("duplicate_keys", "warning")
    assert "2 keys (experiment_id + step.id) stand on 4 rows" in finding.message
    assert repeated_rows(subject_of(steps(10).drop(columns="step.id"))) == []


def test_a_file_copied_under_another_gpu_and_version_is_found(
    gemms: Make, subject_of: Subjects
) -> None:
    original = gemms(40, engine_version="1", device="NVIDIA H100")
    renamed = {"gpu": "h200", "engine_version": "2", "device": "NVIDIA H200"}
    copy = original.assign(source_file="b.parquet", **renamed)
    copy.loc[:9, "latency_us"] += 1
    other = gemms(40, source_file="c.parquet").assign(latency_us=lambda t: t["latency_us"] + 1e-9)
    (finding,) = copied_files(subject_of(pd.concat([original, copy, other])), "latency_us")
    assert (finding.code, finding.level) == ("copied_file", "warning")
    assert finding.figures["files"] == ["a.parquet", "b.parquet"]
    assert finding.message.startswith("a.parquet and b.parquet share 30 of 40 rows to the last bit")


def test_agreeing_now_and_then_is_no_copy(gemms: Make, subject_of: Subjects) -> None:
    table, other = gemms(100), gemms(100, source_file="b.parquet")
    other.loc[49:, "latency_us"] += 1
    assert copied_files(subject_of(pd.concat([table, other])), "latency_us") == []
    few, copy = gemms(19), gemms(19, source_file="b.parquet")
    assert copied_files(subject_of(pd.concat([few, copy])), "latency_us") == []
    assert copied_files(subject_of(table), "latency_us") == []


def test_the_copied_file_of_aiconfigurator_is_found(
    shared_data: Path, subject_of: Subjects
) -> None:
    parts = []
    for system in ("b300_sxm", "gb300", "gb200"):
        name = f"{system}/gemm/sglang/0.5.14/gemm_perf.parquet"
        raw = pd.read_parquet(shared_data / "aiconfigurator" / name)
        table = raw[["gemm_dtype", "m", "n", "k"]].rename(columns={"gemm_dtype": "dtype"})
        parts.append(table.assign(latency_us=raw["latency"] * 1000.0, source_file=name, gpu=system))
    (finding,) = copied_files(subject_of(pd.concat(parts, ignore_index=True)), "latency_us")
    assert [file.split("/")[0] for file in finding.figures["files"]] == ["b300_sxm", "gb300"]
    assert finding.figures["rows"] == finding.figures["rows_of_the_smaller"] == 130_536
