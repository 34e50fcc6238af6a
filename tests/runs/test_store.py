from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import EnvironmentFaultError, RunError
from gpucv.runs import FoldRecord, FoldStore, RunLayout

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.runs import FoldArrays

FILES = ("DONE", "result.json", "predictions.parquet", "model.ubj")


@pytest.fixture
def store(tmp_path: Path) -> FoldStore:
    return FoldStore(tmp_path)


@pytest.fixture
def published(store: FoldStore, record: FoldRecord, arrays: FoldArrays, tmp_path: Path) -> Path:
    store.publish(record, arrays)
    return RunLayout(tmp_path).fold(record.fold_id)


def test_a_published_fold_reads_back(store: FoldStore, published: Path, record: FoldRecord) -> None:
    assert store.read(record.fold_id, record.key) == record
    assert sorted(path.name for path in published.iterdir()) == sorted(FILES)


def test_predictions_name_every_row(published: Path, arrays: FoldArrays) -> None:
    frame = pd.read_parquet(published / "predictions.parquet")
    assert frame["experiment_id"].tolist() == ["a", "b", "b"]
    assert frame["step_id"].tolist() == arrays.step_id.tolist()
    np.testing.assert_array_equal(frame["predicted"], arrays.predicted)


def test_a_failed_fold_leaves_its_record_alone(
    store: FoldStore, record: FoldRecord, tmp_path: Path
) -> None:
    failed = replace(record, status="failed", scores={}, error="ValueError: no", traceback="...")
    store.publish(failed, None)
    assert store.read(7, record.key) == failed
    assert sorted(p.name for p in (tmp_path / "folds" / "0007").iterdir()) == [
        "DONE",
        "result.json",
    ]


def test_a_fold_of_another_plan_is_not_this_fold(store: FoldStore, published: Path) -> None:
    assert published.exists()
    assert store.read(7, "another key") is None
    assert store.read(8, "0123456789abcdef") is None


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", FILES)
def test_a_fold_that_lacks_a_file_is_not_finished(
    name: str,
    store: FoldStore,
    published: Path,
    record: FoldRecord,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (published / name).unlink()
    assert store.read(7, record.key) is None
    (told,) = [each.getMessage() for each in caplog.records]
    assert f"{published / name}: No such file" in told
    assert told.endswith("; fold 7 counts as not run")


@pytest.mark.fault(21)
def test_files_without_done_are_not_finished_and_what_is_not_there_is_no_damage(
    store: FoldStore, published: Path, record: FoldRecord, caplog: pytest.LogCaptureFixture
) -> None:
    (published / "DONE").unlink()
    assert store.read(7, record.key) is None
    assert len(caplog.records) == 1
    assert store.read(8, record.key) is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("done", "told"),
    [
        ('{"schema": 2}', "does not list what the fold consists of"),
        ('{"schema": 1, "sha256": {}}', "does not list what the fold consists of"),
        ('{"schema": 1, "sha256": 7}', "does not list what the fold consists of"),
        ('{"schema": 1, "key": "x", "sha256": {"result.json": ""}}', "is of another plan"),
        ('{"schema": 1, "key": KEY, "sha256": {"result.json": 7}}', "result.json is not what"),
        (
            '{"schema": 1, "key": KEY, "sha256": {"../../study.toml": "", "result.json": ""}}',
            "it lists '../../study.toml'",
        ),
        ("[]", "is this a run folder"),
    ],
)
def test_a_done_file_that_makes_no_sense_is_told(
    done: str,
    told: str,
    store: FoldStore,
    published: Path,
    record: FoldRecord,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (published / "DONE").write_text(done.replace("KEY", f'"{record.key}"'), encoding="utf-8")
    assert store.read(7, record.key) is None
    assert told in caplog.text


def test_a_worker_knows_whether_the_run_in_its_folder_is_still_its_own(
    store: FoldStore, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.csv"
    assert not store.expects(7, "mine")
    plan.write_text("fold_id,key,scheme\n6,yours,lomo\n7,mine,lomo\n", encoding="utf-8")
    assert store.expects(7, "mine")
    assert not store.expects(6, "mine")
    assert not store.expects(7, "yours")
    plan.write_text("fold_id\n7\n", encoding="utf-8")
    assert not store.expects(7, "mine")


@pytest.mark.fault(19)
@pytest.mark.parametrize("name", FILES)
def test_no_changed_byte_goes_unseen(
    name: str, store: FoldStore, published: Path, record: FoldRecord
) -> None:
    path = published / name
    content = path.read_bytes()
    before = store.read(7, record.key)
    for place in range(0, len(content), max(1, len(content) // 40)):
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        path.write_bytes(flipped)
        # DONE's own layout may change a little; what it vouches for may not.
        assert store.read(7, record.key) in ((None, before) if name == "DONE" else (None,))


def test_a_fold_published_by_a_faster_twin_stays(
    store: FoldStore, published: Path, record: FoldRecord, arrays: FoldArrays
) -> None:
    done = (published / "DONE").stat()
    slower = replace(record, seconds={"fit_s": 9.0, "predict_s": 1.0})
    assert store.publish(slower, arrays) == record
    assert (published / "DONE").stat() == done


def test_a_forgotten_fold_can_be_published_anew(
    store: FoldStore, published: Path, record: FoldRecord
) -> None:
    store.forget(7)
    assert not published.exists()
    store.publish(replace(record, key="another key"), None)
    assert store.read(7, "another key") is not None


def test_a_fold_that_cannot_be_removed_stays_whole_and_ends_the_run(
    store: FoldStore, published: Path, record: FoldRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", refuse)
        with pytest.raises(EnvironmentFaultError, match=r"cannot remove .*0007: Read-only"):
            store.forget(7)
    assert published.exists()
    assert store.read(7, record.key) is not None


@pytest.mark.fault(18)
def test_sweeping_takes_what_killed_writers_left_and_nothing_else(
    store: FoldStore, published: Path, record: FoldRecord, tmp_path: Path
) -> None:
    leftovers = [
        tmp_path / ".folds.csv.0a1b2c3d.tmp",
        tmp_path / "table.parquet",
        tmp_path / "folds" / ".0008.0a1b2c3d.tmp" / "result.json",
    ]
    kept = [tmp_path / "folds.csv", tmp_path / ".lock", tmp_path / "notes.tmp"]
    for path in (*leftovers, *kept):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    store.sweep()
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in kept)
    assert published.exists()
    assert store.read(7, record.key) is not None


def test_every_begin_counts_until_the_fold_is_published(
    store: FoldStore, record: FoldRecord, tmp_path: Path
) -> None:
    assert [store.begin(7), store.begin(8), store.begin(7)] == [1, 1, 2]
    store.forget(7)  # whoever resumes a run forgets what it lacks
    assert FoldStore(tmp_path).begun(7) == 2
    store.publish(record, None)
    assert [store.begun(7), store.begun(8)] == [0, 1]
    assert store.begin(7) == 1
    store.sweep()  # as after a kill between publishing and taking the mark away
    assert [store.begun(7), store.begun(8)] == [0, 1]


def test_names_of_marks_hold_numbers_only(store: FoldStore, tmp_path: Path) -> None:
    store.begin(7)
    assert [path.name for path in (tmp_path / "folds").iterdir()] == [".0007.1.begun"]


def test_a_begin_that_cannot_be_noted_is_a_fault_of_the_machine(
    store: FoldStore, tmp_path: Path
) -> None:
    (tmp_path / "folds").touch()
    with pytest.raises(EnvironmentFaultError, match=r"cannot write .*\.0007\.1\.begun"):
        store.begin(7)


def test_a_fold_published_elsewhere_is_taken_in_whole_or_not_at_all(
    store: FoldStore, record: FoldRecord, arrays: FoldArrays, tmp_path: Path
) -> None:
    FoldStore(tmp_path / "elsewhere").publish(record, arrays)
    there = RunLayout(tmp_path / "elsewhere").fold(7)

    def fill(folder: Path) -> None:
        shutil.copytree(there, folder, dirs_exist_ok=True)

    def damage(folder: Path) -> None:
        fill(folder)
        (folder / "model.ubj").write_bytes(b"")

    with pytest.raises(EnvironmentFaultError, match="fold 7 were damaged"):
        store.adopt(7, record.key, damage)
    with pytest.raises(EnvironmentFaultError, match="fold 7 were damaged"):
        store.adopt(7, "another key", fill)
    assert list((tmp_path / "folds").iterdir()) == []
    store.begin(7)
    assert store.adopt(7, record.key, fill) == record == store.read(7, record.key)
    assert [path.name for path in (tmp_path / "folds").iterdir()] == ["0007"]


def test_predictions_are_gathered_in_the_order_of_the_plan(
    store: FoldStore, record: FoldRecord, arrays: FoldArrays, tmp_path: Path
) -> None:
    other = replace(record, fold_id=3, holdout="mixtral")
    failed = replace(record, fold_id=4, status="failed")
    store.publish(record, arrays)
    store.publish(other, arrays)
    store.publish(failed, None)
    store.gather_predictions([other, failed, record], tmp_path / "all.parquet")
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert frame["holdout"].tolist() == ["mixtral"] * 3 + ["llama-2-7b"] * 3
    assert frame["step_id"].tolist() == [4, 5, 6] * 2
    assert frame.columns.tolist() == [
        *("scheme", "holdout", "predictor", "transform", "target"),
        *("experiment_id", "step_id", "actual", "predicted", "phase", "outside"),
    ]


def test_what_rows_are_like_is_kept_and_empty_where_an_earlier_version_did_not_know(
    store: FoldStore, record: FoldRecord, arrays: FoldArrays, tmp_path: Path
) -> None:
    other = replace(record, fold_id=3, holdout="mixtral")
    known = replace(
        arrays,
        phase=np.array([0, -1, 2], dtype=np.int8),
        outside=np.array([0.0, 0.5, 1.0], dtype=np.float32),
    )
    store.publish(record, arrays)
    store.publish(other, known)
    store.gather_predictions([record, other], tmp_path / "all.parquet")
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert frame["phase"].astype(object).where(frame["phase"].notna(), None).tolist() == [
        *(None, None, None),
        *("pure decode", None, "prefill"),
    ]
    assert frame["outside"].isna().tolist() == [True] * 3 + [False] * 3
    assert frame["outside"].tolist()[3:] == [0.0, 0.5, 1.0]


def test_predictions_that_are_not_here_are_missed(
    store: FoldStore, published: Path, record: FoldRecord, tmp_path: Path
) -> None:
    (published / "predictions.parquet").unlink()
    with pytest.raises(RunError, match=r"no longer what this run put there.*gpucv resume"):
        store.gather_predictions([record], tmp_path / "all.parquet")
