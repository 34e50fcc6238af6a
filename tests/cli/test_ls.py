from __future__ import annotations

import json
import os
import platform
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import gpucv as package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


@pytest.fixture(scope="module")
def finished(few_steps: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four folds."""
    folder = tmp_path_factory.mktemp("finished")
    few_steps.to_parquet(folder / "steps.parquet")
    study = {
        "name": "few-steps",
        "data": {"steps": [str(folder / "steps.parquet")], "audit": "off"},
        "predictors": [{"name": "constant"}],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }
    return package.run(study, out=folder / "run").path


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """Two finished runs under runs/, the second begun later."""
    for name, started in (("first", "2026-01-01T10:00:00"), ("second", "2026-01-02T10:00:00")):
        shutil.copytree(finished, tmp_path / "runs" / name)
        rewrite(tmp_path / "runs" / name, started=f"{started}+00:00")
    return tmp_path / "runs"


def rewrite(run: Path, **changes: Any) -> None:
    path = run / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | changes), encoding="utf-8")


def listed(outcome: Outcome) -> list[dict[str, Any]]:
    assert (outcome.code, outcome.err) == (0, "")
    runs: list[dict[str, Any]] = json.loads(outcome.out)["runs"]
    return runs


def test_runs_are_listed_newest_first_with_what_they_found(gpucv: Command, runs: Path) -> None:
    (runs / "notes").mkdir()  # no run: passed over
    second, first = listed(gpucv("ls", "--json"))
    assert (second["path"], first["path"]) == ("runs/second", "runs/first")
    size = sum(file.stat().st_size for file in (runs / "first").rglob("*") if file.is_file())
    assert first == {
        "path": "runs/first",
        "name": "few-steps",
        "started": "2026-01-01T10:00:00+00:00",
        "status": "finished",
        "holder": "",
        "n_done": 4,
        "n_planned": 4,
        "n_failed": 0,
        "verdict": "not supported",
        "device": "cpu",
        "synthetic": False,
        "size_bytes": size,
        "fault": "",
        "finish": "",
    }
    shown = gpucv("ls").out
    assert shown.index("second") < shown.index("first")
    for told in ("runs: 2 runs", "2026-01-02 10:00", "finished", "4/4", "not supported", "cpu"):
        assert told in shown
    assert "To finish" not in shown


def test_a_run_that_was_killed_is_interrupted_and_can_be_finished(
    gpucv: Command, runs: Path
) -> None:
    first = runs / "first"
    rewrite(first, status="running")
    (first / "folds" / "0002" / "DONE").unlink()
    gone = {"pid": 2**22 + 7, "host": platform.node()}  # more than Linux hands out
    (first / ".lock-holder").write_text(json.dumps(gone))
    told = listed(gpucv("ls", first, "--json"))[0]
    assert (told["status"], told["holder"]) == ("interrupted", "")
    assert (told["n_done"], told["n_planned"], told["verdict"]) == (3, 4, "")
    assert told["finish"] == f"gpucv resume {first}"
    assert f"To finish:\n  gpucv resume {first}\n" in gpucv("ls", first).out
    assert gpucv("resume", first, "-q").code == 0
    assert listed(gpucv("ls", first, "--json"))[0]["status"] == "finished"


@pytest.mark.parametrize("host", [platform.node(), "elsewhere"])
def test_a_run_under_way_says_who_holds_it(host: str, gpucv: Command, runs: Path) -> None:
    rewrite(runs / "first", status="running")
    holder = {"pid": os.getpid(), "host": host}
    (runs / "first" / ".lock-holder").write_text(json.dumps(holder))
    told = listed(gpucv("ls", "--json"))[1]
    assert (told["status"], told["finish"]) == ("running", "")
    assert told["holder"] == f"process {os.getpid()} on {host}"
    assert f"runs/first: being written by process {os.getpid()} on {host}" in gpucv("ls").out


def test_failed_folds_are_counted_and_can_be_tried_again(gpucv: Command, runs: Path) -> None:
    table = runs / "second" / "folds.csv"
    table.write_text(table.read_text().replace(",ok,", ",failed,", 1))
    rewrite(runs / "second", status="finished with failed folds")
    told = listed(gpucv("ls", "--json"))[0]
    assert (told["status"], told["n_failed"]) == ("finished", 1)
    assert told["finish"] == "gpucv resume runs/second --retry-failed"
    assert "1 failed" in gpucv("ls").out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", "{"),
        ("manifest.json", '{"schema": 99}'),
        ("verdict.json", "{}"),
        ("plan.csv", None),
    ],
)
def test_a_damaged_run_is_named_and_the_others_listed(
    name: str, content: str | None, gpucv: Command, runs: Path
) -> None:
    file = runs / "second" / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    first, second = listed(gpucv("ls", "--json"))
    assert (first["path"], first["status"]) == ("runs/first", "finished")
    assert (second["path"], second["status"], second["finish"]) == ("runs/second", "damaged", "")
    assert name in second["fault"]
    shown = gpucv("ls").out
    assert "runs: 1 run\n" in shown
    assert "runs/second: damaged: " in shown


def test_a_name_cannot_speak_to_the_terminal(gpucv: Command, runs: Path) -> None:
    hostile = "\x1b]0;own\x07[bold]x"
    (runs / "first").rename(runs / hostile)
    rewrite(runs / hostile, name=hostile, status="interrupted")
    shown = gpucv("ls", runs).out
    assert "\x1b" not in shown
    assert "[bold]x" in shown


def test_nothing_run_yet_is_no_error_and_a_wrong_folder_is(gpucv: Command) -> None:
    outcome = gpucv("ls")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "no runs in runs; `gpucv run STUDY` makes one\n"
    assert listed(gpucv("ls", "--json")) == []
    outcome = gpucv("ls", "elsewhere")
    assert outcome.code == 2
    assert "cannot list elsewhere: No such file or directory" in outcome.err
