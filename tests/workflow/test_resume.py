from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import tomli_w

import gpucv
from gpucv.errors import DataError, EnvironmentFaultError, RunError
from gpucv.folds import plan
from gpucv.pipelines import single
from gpucv.runs import find_damage
from gpucv.workflow import execution

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]
    Results = Callable[..., dict[str, bytes]]


def inodes(root: Path) -> dict[str, tuple[int, int]]:
    """Which DONE files these are, and when they were written."""
    found = {path.parent.name: path.stat() for path in root.glob("folds/*/DONE")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def test_a_finished_run_recomputes_nothing(run: Run, results_of: Results) -> None:
    root = run().path
    before, done = results_of(), inodes(root)
    result = gpucv.resume(root)
    assert inodes(root) == done
    assert results_of() == before
    assert result.manifest["status"] == "finished"
    assert len(result.manifest["resumed"]) == 1


@pytest.mark.fault(19, 21)
@pytest.mark.parametrize("name", ["DONE", "result.json", "predictions.parquet", "model.ubj"])
@pytest.mark.parametrize("damage", ["deleted", "a byte flipped", "emptied"])
def test_a_damaged_fold_alone_runs_again_to_the_same_bits(
    name: str, damage: str, run: Run, results_of: Results, caplog: pytest.LogCaptureFixture
) -> None:
    root = run().path
    before, done = results_of(), inodes(root)
    path = root / "folds" / "0002" / name
    content = bytearray(path.read_bytes())
    if damage == "deleted":
        path.unlink()
    else:
        content[len(content) // 2] ^= 0x10
        path.write_bytes(b"" if damage == "emptied" else bytes(content))
    gpucv.resume(root)
    (told,) = [each.getMessage() for each in caplog.records]
    assert str(path) in told
    assert told.endswith("; fold 2 counts as not run")
    assert find_damage(root) == []
    after = inodes(root)
    assert after.pop("0002") != done.pop("0002")
    assert after == done
    assert results_of() == before


def test_missing_folds_alone_run(run: Run, results_of: Results) -> None:
    root = run().path
    before, done = results_of(), inodes(root)
    shutil.rmtree(root / "folds" / "0001")
    for name in ("folds.csv", "predictions.parquet", "verdict.json", "report.html"):
        (root / name).unlink()
    gpucv.resume(root)
    after = inodes(root)
    assert results_of() == before
    assert {name: after[name] for name in ("0000", "0002", "0003")} == {
        name: done[name] for name in ("0000", "0002", "0003")
    }


@pytest.mark.fault(18)
def test_what_a_killed_writer_left_is_swept_before_folds_need_its_room(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = run().path
    (root / "folds" / ".0002.00c0ffee.tmp").mkdir()
    (root / "folds" / ".0002.00c0ffee.tmp" / "model.ubj").touch()
    (root / ".folds.csv.00c0ffee.tmp").touch()
    (root / "table.parquet").touch()
    left: list[Path] = []
    run_folds = execution.run_folds

    def look_and_run(*words: Any) -> Any:
        left.extend([*root.rglob("*.tmp"), *root.glob("table.parquet")])
        return run_folds(*words)

    monkeypatch.setattr(execution, "run_folds", look_and_run)
    gpucv.resume(root)
    assert left == []
    assert find_damage(root) == []


def test_a_trial_run_resumes_as_one(run: Run) -> None:
    root = run(limit=25).path
    shutil.rmtree(root / "folds" / "0001")
    assert gpucv.resume(root).manifest["rows"] == 100


def test_the_verdicts_thresholds_may_change(run: Run) -> None:
    root = run().path
    done = inodes(root)
    edit(root / "study.toml", "mape_max = 25.0", "mape_max = 1000000.0")
    edit(root / "study.toml", "mape_partial = 30.0", "mape_partial = 1000000.0")
    assert gpucv.resume(root).verdict.label == "supported"
    assert inodes(root) == done


def test_a_run_resumes_elsewhere_to_the_same_bits(run: Run, results_of: Results) -> None:
    root = run().path
    before = results_of()
    edit(root / "study.toml", 'scheduler = ""', 'scheduler = "tcp://127.0.0.1:9"')
    shutil.rmtree(root / "folds" / "0001")
    gpucv.resume(root, overrides=["execution.scheduler=''", "execution.workers=1"])
    assert results_of() == before
    with pytest.raises(RunError, match="the study is not the one this run began with"):
        gpucv.resume(root, overrides=["seed=43"])


def edit_manifest(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def assert_refused_and_nothing_lost(root: Path, message: str) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises((RunError, DataError), match=message) as caught:
        gpucv.resume(root)
    assert caught.value.exit_code == 3
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert {**after, root / ".lock": b""} == {**before, root / ".lock": b""}


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed = 42", "seed = 43", "(seed 42 then, 43 now)"),
        (
            "n_estimators = 5",
            "n_estimators = 6",
            "(predictors.0.params.n_estimators 5 then, 6 now)",
        ),
        ("fraction = 0.25", "fraction = 0.3", "(validation.fraction 0.25 then, 0.3 now)"),
        (
            'transform = "raw"',
            'transform = "log"',
            "(predictors.0.transform raw then, log now)",
        ),
    ],
)
def test_a_changed_study_is_refused_and_the_difference_shown(
    old: str, new: str, told: str, run: Run
) -> None:
    root = run().path
    text = (root / "study.toml").read_text(encoding="utf-8")
    assert old in text
    (root / "study.toml").write_text(text.replace(old, new), encoding="utf-8")
    assert_refused_and_nothing_lost(
        root,
        re.escape(f"{root}: the study is not the one this run began with {told}; put that back, ")
        + "or start a new run: gpucv run .*study.toml --out NEW_FOLDER",
    )


@pytest.mark.fault(22)
def test_a_predictor_added_or_gone_is_shown_key_by_key_and_many_keys_are_counted(
    run: Run,
) -> None:
    root = run().path
    content = tomllib.loads((root / "study.toml").read_text(encoding="utf-8"))
    content["predictors"] += [{"name": "xgboost", "label": each} for each in ("a", "b", "c")]
    (root / "study.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    told = r"predictors\.1\.name missing then, xgboost now, .* and 3 more\)"
    assert_refused_and_nothing_lost(root, told)


@pytest.mark.fault(22)
def test_a_run_of_an_earlier_version_knows_its_study_by_fingerprint_alone(run: Run) -> None:
    root = run().path
    edit_manifest(root, lambda manifest: manifest.pop("study"))
    assert gpucv.resume(root).n_failed == 0
    edit(root / "study.toml", "seed = 42", "seed = 43")
    assert_refused_and_nothing_lost(root, r"\(fingerprint \w{16} then, \w{16} now\)")


@pytest.mark.fault(22)
def test_changed_data_is_refused_and_the_difference_shown(
    run: Run, tmp_path: Path, few_steps: pd.DataFrame
) -> None:
    root, steps = run().path, tmp_path / "steps.parquet"
    before = steps.read_bytes()
    changed = few_steps.copy()
    changed.loc[3, "batch.decode_tokens"] += 1
    changed.iloc[:-1].to_parquet(steps)
    n = len(few_steps)
    old, new = (hashlib.sha256(each).hexdigest()[:12] for each in (before, steps.read_bytes()))
    told = (
        f"the data is not the one this run began with: changed {steps} "
        f"(bytes {len(before)} then, {steps.stat().st_size} now, rows {n} then, {n - 1} now, "
        f"sha256 {old} then, {new} now); put that back, or start a new run: gpucv run "
    )
    assert_refused_and_nothing_lost(root, re.escape(told))


@pytest.mark.fault(22)
def test_other_rows_of_the_same_data_are_told_by_the_key_that_chose_them(run: Run) -> None:
    root = run().path
    edit(root / "study.toml", "sample = 0", "sample = 100")
    assert_refused_and_nothing_lost(root, r"began with: data\.sample 0 then, 100 now; put that")


@pytest.mark.fault(22)
def test_the_same_rows_in_other_bytes_are_the_same_data(run: Run, tmp_path: Path) -> None:
    root, steps = run().path, tmp_path / "steps.parquet"
    before = steps.read_bytes()
    pd.read_parquet(steps).to_parquet(steps, compression="zstd")
    assert steps.read_bytes() != before
    assert gpucv.resume(root).n_failed == 0


@pytest.mark.fault(22)
def test_other_code_is_refused_by_what_it_would_plan(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = run().path
    monkeypatch.setattr(plan, "PROTOCOL", plan.PROTOCOL + 1)
    told = r"this gpucv .* plans other folds than .*: of 4 then and 4 now, 0 are the same; resume"
    assert_refused_and_nothing_lost(root, told)


def test_damaged_data_is_refused(run: Run, tmp_path: Path) -> None:
    root = run().path
    steps = tmp_path / "steps.parquet"
    steps.write_bytes(steps.read_bytes()[:1000])
    assert_refused_and_nothing_lost(root, "steps.parquet")


@pytest.mark.fault(22)
def test_another_xgboost_is_refused(run: Run) -> None:
    def of_long_ago(manifest: dict[str, Any]) -> None:
        versions = manifest["machine"]["versions"]
        for name in [name for name in versions if name.startswith("xgboost")]:
            versions[name] = "1.0.0"

    root = run().path
    edit_manifest(root, of_long_ago)
    assert_refused_and_nothing_lost(root, r"XGBoost 1\.0\.0 then, .* now")


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; is this a run folder"),
        ("{}", "is of schema None; this version reads 1"),
        ('{"schema": 2}', "is of schema 2; this version reads 1; use the gpucv that wrote it"),
        ('{"schema": 1}', "is damaged: 'name' is nothing"),
        ("no json", "is this a run folder"),
    ],
)
def test_a_folder_that_is_no_run_of_this_version_is_refused(
    content: str | None, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        (folder / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=message):
        gpucv.resume(folder)
    assert not (folder / ".lock").exists()


@pytest.fixture
def with_one_failed_fold(run: Run, monkeypatch: pytest.MonkeyPatch) -> gpucv.Result:
    make = single.make_predictor
    calls: list[Any] = []

    def fail_once(*words: Any) -> Any:
        calls.append(words)
        if len(calls) == 1:
            raise RuntimeError("no luck")
        return make(*words)

    with monkeypatch.context() as patched:
        patched.setattr(single, "make_predictor", fail_once)
        return run(execution={"workers": 1, "threads_per_fold": 1})


def test_a_failed_fold_stays_failed_until_asked_for(
    with_one_failed_fold: gpucv.Result, run: Run, results_of: Results
) -> None:
    root = with_one_failed_fold.path
    assert with_one_failed_fold.n_failed == 1
    assert gpucv.resume(root).n_failed == 1
    result = gpucv.resume(root, retry_failed=True)
    assert result.n_failed == 0
    assert result.manifest["status"] == "finished"
    run("undisturbed")
    assert results_of("run") == results_of("undisturbed")


def test_a_fault_of_the_machine_is_written_into_the_manifest(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results_of: Results
) -> None:
    make, calls = single.make_predictor, iter(range(4))

    def third_finds_no_gpu(*words: Any) -> Any:
        if next(calls) == 2:
            raise EnvironmentFaultError("the GPU is gone")
        return make(*words)

    with monkeypatch.context() as patched:
        patched.setattr(single, "make_predictor", third_finds_no_gpu)
        with pytest.raises(EnvironmentFaultError, match="the GPU is gone"):
            run(execution={"workers": 1, "threads_per_fold": 1})
    root = tmp_path / "run"
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "stopped"
    assert len(inodes(root)) == 2
    gpucv.resume(root)
    run("undisturbed")
    assert results_of("run") == results_of("undisturbed")
