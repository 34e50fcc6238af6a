"""A run folder leads nowhere else, and says so where everyone can change it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gpucv.errors import RunError
from gpucv.runs import RunLayout, run_lock, warn_if_others_can_change
from gpucv.runs.guards import must_stay_inside


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    layout = RunLayout(tmp_path / "run")
    layout.folds.mkdir(parents=True)
    return layout


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", "folds/0001/../../../x", ".", "", "a/b", "folds/"]
)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(name: str, layout: RunLayout) -> None:
    with pytest.raises(RunError, match="is not in its folder; do not use this run"):
        must_stay_inside(layout, {"outputs": {name: {"sha256": "0"}}})


def test_the_names_gpucv_writes_are_taken(layout: RunLayout) -> None:
    own = [path for path in vars(layout).values() if path != layout.root]
    for path in own:
        path.touch()
    (layout.folds / "0001").mkdir()
    must_stay_inside(layout, {"outputs": {path.name: {} for path in layout.outputs()}})


@pytest.mark.parametrize(
    "name",
    [
        *("folds", "folds/0000", "folds/.0000.begun", ".lock", ".lock-holder", "manifest.json"),
        *("study.toml", "predictions.parquet", "table.parquet", "report.html"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_the_place_of_a_runs_file_is_refused(
    name: str, there: bool, layout: RunLayout, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.mkdir()
    place = layout.root / name
    if name == "folds":
        place.rmdir()
    place.symlink_to(elsewhere)
    with pytest.raises(RunError, match=rf"{Path(name).name} is a link, and the files of a run"):
        must_stay_inside(layout, {"outputs": {}})


def test_a_run_folder_may_itself_be_reached_by_a_link(layout: RunLayout, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(layout.root)
    must_stay_inside(RunLayout(tmp_path / "latest"), {"outputs": {}})


@pytest.mark.parametrize(
    ("above", "here", "told"),
    [
        (0o755, 0o755, ""),
        (0o755, 0o775, ""),  # a group is somebody's choice
        (0o755, 0o757, "run"),
        (0o1777, 0o755, ""),  # such as /tmp: others' folders cannot be replaced there
        (0o777, 0o755, "above"),
    ],
)
def test_a_folder_that_everyone_can_change_is_told_of_with_its_mend(
    above: int, here: int, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "above" / "run"
    folder.mkdir(parents=True)
    folder.chmod(here)
    folder.parent.chmod(above)
    with caplog.at_level(logging.WARNING, logger="gpucv"):
        warn_if_others_can_change(folder)
    messages = [record.getMessage() for record in caplog.records]
    mend = {"run": folder, "above": folder.parent}.get(told)
    assert messages == (
        [
            f"every user of this machine can change {folder}, and so the results in it; "
            f"chmod o-w {mend}"
        ]
        if told
        else []
    )


def test_whoever_writes_a_run_is_told_once(
    layout: RunLayout, caplog: pytest.LogCaptureFixture
) -> None:
    layout.root.chmod(0o777)
    with caplog.at_level(logging.WARNING, logger="gpucv"), run_lock(layout.root):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
