"""``gpucv compare`` on real runs: a rerun is quiet, a planted regression is not."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

import gpucv as package
from gpucv.errors import RunError
from gpucv.runs import RunLayout, read_manifest, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "examples" / "ci" / "github-actions.yml"
PAGE = ROOT / "docs" / "how-to" / "ci-gate.md"


@pytest.fixture(scope="module")
def finished(few_steps: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `study`, made once."""
    folder = tmp_path_factory.mktemp("finished")
    few_steps.to_parquet(folder / "steps.parquet")
    study = {
        "name": "few-steps",
        "data": {"steps": [str(folder / "steps.parquet")], "audit": "off"},
        "predictors": [{"params": {"n_estimators": 5}}],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }
    return package.run(study, out=folder / "run").path


@pytest.fixture
def first(gpucv: Command, finished: Path) -> Path:
    """A finished run, `a`, in the current folder."""
    return Path(shutil.copytree(finished, "a"))


def copied(name: str, **facts: Any) -> RunLayout:
    """A copy of run `a` with other facts in its manifest."""
    shutil.copytree("a", name)
    layout = RunLayout(Path(name))
    if facts:
        write_manifest(layout, {**read_manifest(layout), **facts})
    return layout


def plant(name: str, factor: float) -> None:
    """Copy run `a`, every error of every row `factor` times as large."""
    layout = copied(name)
    rows = pd.read_parquet(layout.predictions)
    rows["predicted"] = rows["actual"] + factor * (rows["predicted"] - rows["actual"])
    rows.to_parquet(layout.predictions)
    folds = pd.read_csv(layout.folds_csv)
    scored = [column for column in folds if column.startswith("test_") and column != "test_r"]
    folds[scored] *= factor
    folds.to_csv(layout.folds_csv, index=False)
    write_manifest(layout, read_manifest(layout))


def slow(name: str, factor: float) -> None:
    layout = copied(name)
    folds = pd.read_csv(layout.folds_csv)
    folds["fit_s"] *= factor
    folds.to_csv(layout.folds_csv, index=False)
    write_manifest(layout, read_manifest(layout))


def test_a_rerun_passes_every_gate(gpucv: Command, study: Path, first: Path) -> None:
    assert gpucv("run", study, "--out", "b", "-q").code == 0
    gates = [w for m in ("mape", "wape", "p99_ape", "time_error") for w in ("--fail", f"{m}:+0%")]
    outcome = gpucv("compare", first, "b", *gates)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Every fold has the same MAPE, to the last bit." in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_a_planted_regression_of_3_percent_fails_with_5_and_the_line(
    gpucv: Command, first: Path
) -> None:
    plant("b", 1.03)
    outcome = gpucv("compare", first, "b", "--fail", "mape:+2%")
    assert outcome.code == 5
    lines = outcome.err.splitlines()
    assert len(lines) == 2  # lomo and lowo
    assert lines[0].startswith("gpucv: beyond a threshold: b: mape:+2%: lomo xgboost: ")
    assert "(+3.00%, n = 2 folds; 95% interval" in lines[0]
    assert gpucv("compare", first, "b", "--fail", "mape:+4%").code == 0
    assert gpucv("compare", "b", first, "--fail", "mape:+0%").code == 0


def test_a_slower_fit_fails_a_gate_on_time_only(gpucv: Command, first: Path) -> None:
    slow("b", 1.3)
    assert gpucv("compare", first, "b", "--fail", "mape:+0%").code == 0
    outcome = gpucv("compare", first, "b", "--fail", "fit:+10%")
    assert outcome.code == 5
    assert "(x1.30, n = 4 folds; 95% interval x1.30 to x1.30)" in outcome.err


def test_a_worse_predictor_is_compared_and_its_setting_listed(
    gpucv: Command, study: Path, first: Path
) -> None:
    assert gpucv("run", study, "--out", "b", "-q", "--set", "predictors.0.params.n_estimators=2")
    told = json.loads(gpucv("compare", first, "b", "--json").out)
    assert told["ok"] is True
    (found,) = [row for row in told["differences"] if row["about"] == "study"]
    assert found["what"] == "predictors.0.params.n_estimators"
    assert (found["baseline"], found["value"], found["refused"]) == ("5", "2", False)
    row = told["accuracy"][0]
    assert (row["method"], row["n_folds"]) == ("rows", 2)
    before, after = (pd.read_csv(f"{name}/folds.csv") for name in "ab")
    lomo = before["scheme"] == "lomo"
    change = (after["test_mape"] - before["test_mape"])[lomo].mean()
    assert row["change"] == pytest.approx(change)
    assert row["low"] <= change <= row["high"]


def test_other_data_is_refused_and_what_differs_is_listed(
    gpucv: Command, study: Path, first: Path
) -> None:
    assert gpucv("run", study, "--out", "b", "-q", "--limit", 30).code == 0
    outcome = gpucv("compare", first, "b")
    assert outcome.code == 3
    assert outcome.out == ""
    assert "not comparable with a: b: rows is 120, not 160; b: --limit is 30, not -" in outcome.err
    forced = gpucv("compare", first, "b", "--force", "--json")
    assert forced.code == 0
    assert {row["what"] for row in json.loads(forced.out)["differences"] if row["refused"]} == {
        "rows",
        "--limit",
    }


def test_other_features_of_the_same_data_are_compared(
    gpucv: Command, study: Path, first: Path
) -> None:
    features = "features.columns=['batch.scheduled_tokens']"
    assert gpucv("run", study, "--out", "b", "-q", "--set", features).code == 0
    told = json.loads(gpucv("compare", first, "b", "--json").out)
    assert not any(row["refused"] for row in told["differences"])
    assert {"feature table", "features.columns"} <= {row["what"] for row in told["differences"]}
    assert all(fold["same_rows"] for fold in told["folds"])


def test_another_target_or_device_is_refused(gpucv: Command, study: Path, first: Path) -> None:
    cycle = "data.target=step.cycle_us"
    assert gpucv("run", study, "--out", "b", "-q", "--set", cycle).code == 0
    outcome = gpucv("compare", first, "b")
    assert outcome.code == 3
    assert "data.target is step.cycle_us, not step.duration_us" in outcome.err
    assert gpucv("compare", first, "b", "--force").code == 0
    manifest = read_manifest(RunLayout(first))
    copied("c", device={**manifest["device"], "by_fold": ["cuda"]})
    outcome = gpucv("compare", first, "c")
    assert outcome.code == 3
    assert "c: device is cuda, not cpu; --force" in outcome.err


def test_a_gate_on_time_asks_for_the_same_machine_and_others_do_not(
    gpucv: Command, first: Path
) -> None:
    manifest = read_manifest(RunLayout(first))
    copied("b", machine={**manifest["machine"], "cpu": "another"})
    assert gpucv("compare", first, "b", "--fail", "mape:+2%").code == 0
    outcome = gpucv("compare", first, "b", "--fail", "fit:+10%")
    assert outcome.code == 3
    assert "cpu is another" in outcome.err
    assert gpucv("compare", first, "b", "--fail", "fit:+10%", "--force").code == 0
    placement = {**manifest["placement"], "at_once": 99}
    copied("c", placement=placement)
    assert "at_once is 99" in gpucv("compare", first, "c", "--fail", "fit:+10%").err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("a",), 2, "two runs or more"),
        (("a", "nowhere"), 2, "no such run folder"),
        (("a", "a"), 2, "named twice"),
        (("a", "."), 3, "is this a run folder?"),
        (("a", "b", "--fail", "mpae:+2%"), 2, "did you mean 'mape'"),
        (("a", "b", "--json", "--markdown"), 2, "print one of them"),
    ],
)
def test_a_wrong_command_line_says_so(
    words: tuple[str, ...], code: int, said: str, gpucv: Command, first: Path
) -> None:
    copied("b")
    outcome = gpucv("compare", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err


def test_runs_without_a_fold_in_common_are_refused(
    gpucv: Command, study: Path, first: Path
) -> None:
    label = "predictors.0.label=another"
    assert gpucv("run", study, "--out", "b", "-q", "--set", label).code == 0
    outcome = gpucv("compare", first, "b")
    assert outcome.code == 3
    assert "no finished fold in common" in outcome.err


def test_python_returns_a_frame_per_table(gpucv: Command, first: Path) -> None:
    plant("b", 1.03)
    found = package.compare("a", package.Result.load("b"), fail=["mape:+2%"])
    assert not found.ok
    assert found.gates["status"].tolist() == ["fail", "fail"]
    assert found.accuracy["percent"][0] == pytest.approx(3.0)
    assert repr(found) == "<Comparison of 'b' against 'a': 2 of 2 gates failed>"
    damaged = Path("b/folds.csv")
    damaged.write_text(damaged.read_text() + "\n")
    with pytest.raises(RunError, match="was changed"):
        package.compare("a", "b")


def test_several_runs_are_set_against_the_first(gpucv: Command, first: Path) -> None:
    plant("b", 1.03)
    copied("c")
    outcome = gpucv("compare", "a", "b", "c", "--markdown", "--fail", "mape:+2%")
    assert outcome.code == 5
    assert outcome.out.count("### gpucv: ") == 2
    assert "### gpucv: c against a\n\n**2 checks: none failed." in outcome.out


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as GitHub Actions does, gpucv on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "80", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_github_workflow_gates_a_pull_request(study: Path, tmp_path: Path) -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads `on` as true
    (job,) = workflow["jobs"].values()
    scripts = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    only = {step["name"]: step["if"] for step in job["steps"] if "if" in step}
    assert (ROOT / workflow["env"]["STUDY"]).is_file()
    assert "make setup EXTRA=cpu" in scripts["Install gpucv"]
    summary = tmp_path / "summary.md"
    given = {**workflow["env"], "STUDY": str(study), "GITHUB_STEP_SUMMARY": str(summary)}

    compare = scripts["Compare with the baseline"]
    assert shell(compare, tmp_path, **given).returncode == 0
    assert summary.read_text(encoding="utf-8").startswith("No baseline yet")

    def run(event: str) -> int:
        """Run the steps of an event up to the first that fails; return its exit code."""
        shutil.rmtree(tmp_path / "runs" / "new", ignore_errors=True)
        steps = [
            s for n, s in scripts.items() if n != "Install gpucv" and event in only.get(n, event)
        ]
        codes = (shell(step, tmp_path, **given).returncode for step in steps)
        return next((code for code in codes if code), 0)

    assert run("push") == 0
    assert (tmp_path / "runs" / "baseline" / "folds.csv").is_file()
    assert run("pull_request") == 0
    assert "4 checks: none failed." in summary.read_text(encoding="utf-8")
    content = study.read_text(encoding="utf-8")
    study.write_text(content.replace("n_estimators = 5", "n_estimators = 1"), encoding="utf-8")
    assert run("pull_request") == 5
    assert "- **fail** mape:+2%" in summary.read_text(encoding="utf-8")


def test_the_cache_is_restored_from_where_it_is_kept() -> None:
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    caches = [step["with"] for step in job["steps"] if "actions/cache" in step.get("uses", "")]
    restored, kept = caches
    assert restored["path"] == kept["path"] == "runs/baseline"
    assert kept["key"].startswith(restored["restore-keys"])


def test_the_commands_of_the_page_run_as_they_stand(gpucv: Command, tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```(sh|python)\n(.*?)```", page, flags=re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "sh", "sh", "python"]
    for name in ("examples", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    # Trees and steps decide the time this takes, and nothing that is looked at here.
    fewer = ("--set", "predictors.0.params.n_estimators=10")
    said = []
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), {})
            continue
        for line in block.replace("\\\n", "").splitlines():
            command, _, otherwise = line.replace("--limit 300", "--limit 60").partition(" || ")
            program, *words = shlex.split(command)
            assert program == "gpucv"
            outcome = gpucv(*words, *(fewer if words[0] == "run" else ()))
            assert outcome.code == (5 if otherwise else 0), outcome.err
            said.append(outcome.out)
    assert "branch against main" in said[2]
    assert "1 of" in said[3] or "2 of" in said[3]
    assert "seed against main" in said[5]
