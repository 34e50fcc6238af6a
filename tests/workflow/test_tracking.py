from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from gpucv.cli.main import main
from gpucv.errors import EnvironmentFaultError
from gpucv.pipelines import SearchStorage
from gpucv.study import ChooseSpec
from gpucv.workflow.tracking import track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import gpucv

    Run = Callable[..., gpucv.Result]


class Mlflow(SimpleNamespace):
    """What of MLflow is used, and its rules; remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(tags={}, params={}, metrics={}, artifacts=[], runs=[], active=None)

    def active_run(self) -> Any:
        return self.active

    @contextlib.contextmanager
    def start_run(self, run_name: str, nested: bool) -> Iterator[Any]:
        assert nested or self.active is None
        self.runs.append((run_name, nested))
        yield SimpleNamespace(info=SimpleNamespace(run_id="0123"))

    def set_tags(self, tags: dict[str, str]) -> None:
        assert all(isinstance(value, str) for value in tags.values())
        self.tags |= tags

    def log_params(self, params: dict[str, str]) -> None:
        assert len(params) <= 100
        assert not params.keys() & self.params.keys()
        self.params |= params

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert all(type(value) is float for value in metrics.values())
        self.metrics |= {(name, step): value for name, value in metrics.items()}

    def log_artifact(self, path: str) -> None:
        self.artifacts.append(path.rpartition("/")[2])


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Mlflow:
    made = Mlflow()
    monkeypatch.setitem(sys.modules, "mlflow", made)  # type: ignore[arg-type]
    return made


def test_a_run_is_logged_with_its_study_scores_and_files(run: Run, mlflow: Mlflow) -> None:
    params = {"params": {"n_estimators": 5}}
    result = run(predictors=[{"name": "constant", "transform": "log"}, params])
    assert track(result) == "0123"
    assert mlflow.runs == [("run", False)]
    assert mlflow.tags["gpucv.study_fingerprint"] == result.manifest["study_fingerprint"]
    assert mlflow.tags["gpucv.data_fingerprint"] == result.manifest["data_fingerprint"]
    assert mlflow.tags["gpucv.verdict"] == result.verdict.label
    assert (mlflow.tags["gpucv.device"], mlflow.tags["gpucv.synthetic"]) == ("cpu", "false")
    assert mlflow.params["seed"] == "42"
    assert mlflow.params["predictors.1.params.n_estimators"] == "5"
    for number, (_, fold) in enumerate(result.folds.iterrows()):
        named = {"constant": "constant on log"}.get(fold["predictor"], fold["predictor"])
        name = f"{fold['scheme']}/{named}/fold_test_mape"
        assert mlflow.metrics[name, number] == fold["test_mape"]
    lomo = result.folds.query("scheme == 'lomo' and predictor == 'xgboost'")["test_mape"]
    assert mlflow.metrics["lomo/xgboost/mean_test_mape", None] == pytest.approx(lomo.sum() / 2)
    assert mlflow.metrics["lomo/xgboost/worst_test_mape", None] == lomo.max()
    assert mlflow.metrics["lomo/xgboost/n_folds", None] == 2
    for name in ("report.html", "FINDINGS.md", "folds.csv", "verdict.json", "manifest.json"):
        assert name in mlflow.artifacts
    assert "predictions.parquet" not in mlflow.artifacts


def test_within_an_active_run_it_is_a_nested_one(run: Run, mlflow: Mlflow) -> None:
    mlflow.active = object()
    track(run())
    assert mlflow.runs == [("run", True)]


def test_names_become_keys_that_every_store_takes(run: Run, mlflow: Mlflow) -> None:
    names = ["../a:b", ".", "<x>"]
    schemes = [{"name": name, "hold_out": "model"} for name in names[:2]]
    labelled = [{"name": "constant", "label": names[2]}]
    track(run(schemes=schemes, predictors=labelled))
    found = {name.rpartition("/")[0] for name, _ in mlflow.metrics}
    assert found == {"__/_2fa_3ab/_3cx_3e".replace("__/", "__"), "_/_3cx_3e"}


def test_scores_without_a_value_are_left_out(run: Run, mlflow: Mlflow) -> None:
    result = run()
    result.folds.loc[0, "test_r"] = float("nan")
    result.folds.loc[1, "test_mape"] = float("inf")
    track(result)
    assert ("lomo/xgboost/fold_test_r", 0) not in mlflow.metrics
    assert ("lomo/xgboost/fold_test_mape", 0) in mlflow.metrics
    assert ("lomo/xgboost/fold_test_mape", 1) not in mlflow.metrics


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def study_file(study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import tomli_w

    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    return tmp_path / "study.toml"


@pytest.mark.parametrize("words", [("run",), ("tune", "--trials", "2")])
def test_the_commands_log_what_they_ran(
    words: tuple[str, ...], study_file: Path, mlflow: Mlflow
) -> None:
    assert command(words[0], study_file, *words[1:], "--out", "r", "-q", "--track", "mlflow") == 0
    assert command("resume", "r", "-q", "--track", "mlflow") == 0
    assert mlflow.runs == [("r", False), ("r", False)]


def test_a_tracker_that_fails_is_one_warning_and_no_failure(
    study_file: Path, mlflow: Mlflow, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(tags: dict[str, str]) -> None:
        raise RuntimeError("server away\nsecond line")

    mlflow.set_tags = refuse
    assert command("run", study_file, "--out", "r", "-q", "--track", "mlflow") == 0
    shown = capsys.readouterr()
    told = "could not log r to mlflow: RuntimeError: server away; the run itself is complete"
    assert shown.err == f"warning: {told}\n"
    assert "Not supported" in shown.out
    manifest = json.loads(Path("r/manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "finished"


@pytest.mark.parametrize("words", [("run", "study.toml"), ("tune", "study.toml"), ("resume", "r")])
def test_a_missing_tracker_is_said_before_anything_runs(
    words: tuple[str, ...],
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert command(*words, "--track", "mlflow") == 4
    assert "pip install mlflow-skinny" in capsys.readouterr().err
    assert not (study_file.parent / "runs").exists()


def searches(path: Path) -> dict[str, optuna.Study]:
    url = f"sqlite:///{path}"
    return {
        name: optuna.load_study(study_name=name, storage=url)
        for name in optuna.get_all_study_names(url)
    }


@pytest.mark.filterwarnings("ignore:unclosed database")  # of Optuna, where the test reads
def test_a_storage_keeps_every_search_and_changes_no_result(
    study_file: Path, tmp_path: Path
) -> None:
    words = ("tune", study_file, "-q", "--trials", 3, "--transforms", "--space", "max_depth=2,4")
    assert command(*words, "--out", "with", "--storage", f"sqlite:///{tmp_path}/s.db") == 0
    assert command(*words, "--out", "without") == 0
    for name in ("predictions.parquet", "verdict.json", "tuned.toml"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    found = searches(tmp_path / "s.db")
    holdouts = {"lomo": ("codellama-34b", "llama-2-7b"), "lowo": ("codegen", "general")}
    assert set(found) == {
        f"with / {scheme} / {holdout} / xgboost tuned"
        for scheme, held_out in holdouts.items()
        for holdout in held_out
    }
    for path in sorted((tmp_path / "with" / "folds").glob("*/result.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not record["chosen"]:
            continue
        name = f"with / {record['scheme']} / {record['holdout']} / {record['predictor']}"
        trials = found[name].trials
        told = record["chosen"]["candidates"]
        assert [trial.value for trial in trials] == [each["mape"] for each in told]
        depths = [
            trial.params.get("max_depth", trial.user_attrs.get("max_depth")) for trial in trials
        ]
        assert depths == [each["max_depth"] for each in told]
        assert [trial.params["(transform)"] for trial in trials] == [e["transform"] for e in told]
        assert "max_depth" in trials[0].user_attrs  # 6, as it stands, is outside of 2 to 4
        assert found[name].best_value == min(each["mape"] for each in told)


def test_a_candidate_that_failed_is_a_failed_trial(tmp_path: Path) -> None:
    rule = ChooseSpec(space={"rate": (0.1, 1.0, "log")}, trials=2)
    told = [
        {"transform": "raw", "rate": 0.5, "mape": None, "error": "too steep"},
        {"transform": "raw", "rate": 0.2, "mape": 7.0},
    ]
    with contextlib.closing(SearchStorage(f"sqlite:///{tmp_path}/s.db")) as storage:
        storage.write("one", rule, told)
        with pytest.raises(EnvironmentFaultError, match=r"cannot write 'one'.*already exists"):
            storage.write("one", rule, told)
    connection = sqlite3.connect(tmp_path / "s.db")
    with contextlib.closing(connection):
        states = connection.execute("select state from trials order by number").fetchall()
        reasons = connection.execute("select value_json from trial_user_attributes").fetchall()
    assert states == [("FAIL",), ("COMPLETE",)]
    assert reasons == [('"too steep"',)]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "cannot open the storage nonsense"),
        ("sqlite:////absent/folder/s.db", "unable to open database file"),
        ("postgresql://me:secret@nowhere/x", r"postgresql://me:\*\*\*@nowhere/x"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_said_before_anything_is_trained(
    url: str,
    told: str,
    study_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("tune", study_file, "-q", "--trials", 2, "--storage", url) == 4
    shown = capsys.readouterr().err
    assert told.replace("\\", "") in shown
    assert "secret" not in shown
    assert not (study_file.parent / "runs").exists()
