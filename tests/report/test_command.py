"""`gpucv report`, called as the command line calls it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

import gpucv
from gpucv.cli.main import main
from gpucv.runs import RunLayout

STUDY = Path(__file__).parents[2] / "data" / "study.parquet"


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(word) for word in ("report", *words)])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Path]:
    folds, importance = tmp_path / "folds.csv", tmp_path / "importance.csv"
    folds.write_text(
        "cv_type,holdout,n_train,n_test,valid_mape,test_mape,test_mspe,test_r,experiment_id,"
        "model,workload\nlomo,=a,30,10,5,12.5,-2.5,0.9,,,\nlomo,b,10,30,5,17.5,1,,,,\n"
    )
    importance.write_text("cv_type,holdout,feature,importance\nlomo,=a,x,1\nlomo,b,x,1\n")
    return folds, importance


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two folds over a few steps of the embedded study."""
    folder = tmp_path_factory.mktemp("run")
    steps = pd.read_parquet(STUDY)
    steps = steps[steps["model"].isin(steps["model"].unique()[:2])]
    steps.groupby("experiment_id", observed=True).head(40).to_parquet(folder / "steps.parquet")
    study = {
        "schema": 1,
        "name": "two-models",
        "data": {"steps": [str(folder / "steps.parquet")], "audit": "off"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [{"name": "xgboost", "params": {"n_estimators": 5}}],
        "execution": {"device": "cpu"},
    }
    return gpucv.run(study, out=folder / "out").path


@pytest.mark.shared_data
def test_the_published_tables_are_printed_from_the_published_files(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "published"
    folds = folder / "h3_cv_summary.csv"
    assert call("--from-recorded", folds, folder / "h3_feature_importance.csv") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    printed = {line[0]: line[1:] for line in lines if line}
    averages = [line for line in lines if line[:1] == ["average,"]]
    spreads = [line[-1] for line in lines if line[:2] == ["top-10", "average"]]
    assert [line[6] for line in averages if line[1] == "n"] == ["2559.7", "109.7"]
    assert spreads == ["4.1", "3.4"]
    published = pd.read_csv(folds)
    for row in published[~published["cv_type"].str.endswith("_per_exp")].itertuples():
        cells = printed[row.holdout]
        assert cells[:3] == [f"{row.n_test:,.0f}", f"{row.test_mape:.1f}", f"{row.test_mspe:+.1f}"]
    for row in published[published["cv_type"].str.endswith("_per_exp")].itertuples():
        assert [row.experiment_id, f"{row.n_test:,.0f}", f"{row.test_mape:.1f}"] in [
            line[:3] for line in lines
        ]


def test_recorded_results_write_nothing_unless_asked(
    recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(recorded[0].parent.iterdir())
    assert call("--from-recorded", *recorded, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["recorded"] is True
    assert content["verdicts"][0]["label"] == "strongly supported"
    assert content["folds"][1]["test_r"] is None
    assert sorted(recorded[0].parent.iterdir()) == before


def test_out_gets_findings_page_and_tables(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert call("--from-recorded", *recorded, "--out", out, "--quiet") == 0
    assert {path.name for path in out.iterdir()} == {
        *("FINDINGS.md", "report.html", "verdict.json"),
        *("folds.csv", "experiments.csv", "importance.csv", "stability.csv"),
    }
    assert "lomo,'=a," in (out / "folds.csv").read_text()
    assert hashlib.sha256(recorded[0].read_bytes()).hexdigest() in (out / "FINDINGS.md").read_text()


def test_a_run_folder_is_rendered_again_to_the_same_bytes(finished_run: Path) -> None:
    layout = RunLayout(finished_run)
    before = layout.findings.read_bytes(), layout.page.read_bytes()
    layout.findings.unlink()
    layout.page.write_text("damaged")
    assert call(finished_run, "--quiet") == 0
    assert (layout.findings.read_bytes(), layout.page.read_bytes()) == before
    outputs = json.loads(layout.manifest.read_text())["outputs"]
    assert outputs["report.html"]["sha256"] == hashlib.sha256(before[1]).hexdigest()


def test_a_run_reported_elsewhere_is_left_alone(finished_run: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    assert call(finished_run, "--out", tmp_path / "copy", "--quiet") == 0
    assert (tmp_path / "copy" / "report.html").is_file()
    after = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    assert after == before


def test_a_run_folder_is_never_written_over(
    finished_run: Path, recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--from-recorded", *recorded, "--out", finished_run) == 2
    assert "is a run folder; choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "code", "message"),
    [
        ("folds.csv", "scheme,holdout\nlomo,a\n", 3, "folds.csv was changed since"),
        ("stability.csv", "", 3, "stability.csv was changed since"),
        ("manifest.json", "{", 3, "manifest.json"),
        ("verdict.json", "[]", 3, "verdict.json"),
    ],
)
def test_a_damaged_run_folder_is_refused_by_file(
    finished_run: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    content: str,
    code: int,
    message: str,
) -> None:
    path = finished_run / file
    whole = path.read_bytes()
    path.write_text(content)
    try:
        assert call(finished_run) == code
    finally:
        path.write_bytes(whole)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "name a run folder, or --from-recorded"),
        (("absent",), 2, "absent: no such run folder"),
        (("--from-recorded", "absent.csv", "absent.csv"), 2, "absent.csv: no such file"),
        (("--from-recorded", "absent.csv"), 2, "--from-recorded"),
        (("somewhere", "--from-recorded", "a.csv", "b.csv"), 2, "name a run folder, or"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    assert call(*words) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_two_files_in_the_wrong_order_are_refused(
    recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--from-recorded", *reversed(recorded)) == 3
    assert "importance.csv: column 'experiment_id' is missing" in capsys.readouterr().err
