"""A finished run, told to an experiment tracker; and a tuned run's searches, to Optuna's storage.

Both come after the run and read what it wrote: the run folder stays the only truth, a slow
server holds up no fold, and a run of last week can be told as well. Where the tracker fails
nothing is lost.
"""

from __future__ import annotations

import math
import re
import tomllib
from typing import TYPE_CHECKING, Any, Literal

from gpucv.errors import EnvironmentFaultError
from gpucv.report.cells import clean
from gpucv.runs import RunLayout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from gpucv.pipelines import SearchStorage
    from gpucv.runs import FoldRecord
    from gpucv.workflow.preparation import PreparedStudy
    from gpucv.workflow.result import Result

__all__ = ["Tracker", "must_have", "store_searches", "track"]

Tracker = Literal["mlflow"]

_PER_FOLD = ("valid_mape", "test_mape", "test_mspe", "test_r", "test_wape", "fit_s", "predict_s")
_MOST_PARAMS = 100
"""MLflow takes no more at once."""


def must_have(tracker: Tracker) -> Any:
    """Return the tracker's library; asked before a run, so that it is not missed after it.

    Raises
    ------
    EnvironmentFaultError
        If it is not installed.
    """
    try:
        import mlflow
    except ImportError as error:
        msg = f"tracking with {tracker} needs mlflow ({error}): pip install mlflow-skinny"
        raise EnvironmentFaultError(msg) from error
    return mlflow


def track(result: Result, tracker: Tracker = "mlflow") -> str:
    """Log a finished run: its study, scores per fold and scheme, and files.

    Where to is MLflow's own setting: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``, or
    what `mlflow` was told in this process. Within an active MLflow run it is a nested one.

    Parameters
    ----------
    result : Result
    tracker : {"mlflow"}

    Returns
    -------
    str
        The identifier of the tracker's run.

    Raises
    ------
    EnvironmentFaultError
        If the tracker is not installed, or could not be told; the run folder is as it was.
    """
    mlflow = must_have(tracker)
    try:
        nested = mlflow.active_run() is not None
        with mlflow.start_run(run_name=clean(result.path.name), nested=nested) as run:
            mlflow.set_tags(_tags(result))
            params = list(_params(result).items())
            for first in range(0, len(params), _MOST_PARAMS):
                mlflow.log_params(dict(params[first : first + _MOST_PARAMS]))
            for step, metrics in _fold_metrics(result.folds):
                mlflow.log_metrics(metrics, step=step)
            mlflow.log_metrics(_scheme_metrics(result))
            layout = RunLayout(result.path)
            for path in (*layout.outputs(), layout.manifest):
                if path != layout.predictions:  # one row per step: for the run folder alone
                    mlflow.log_artifact(str(path))
            return str(run.info.run_id)
    except Exception as error:  # whatever a library of another maker, or its server, raises
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        msg = f"could not log {result.path} to {tracker}: {clean(told, longest=300)}"
        raise EnvironmentFaultError(msg) from error


def _tags(result: Result) -> dict[str, str]:
    manifest = result.manifest
    tags = {
        "run_folder": result.path.name,
        "study": manifest["name"],
        "study_fingerprint": manifest["study_fingerprint"],
        "data_fingerprint": manifest["data_fingerprint"],
        "device": manifest["device"].get("used"),
        "synthetic": str(manifest["synthetic"]).lower(),
        "limit": manifest["limit"],
        "status": manifest["status"],
        "revision": manifest.get("revision"),
        "gpucv": manifest["machine"].get("versions", {}).get("gpucv"),
        "verdict": result.verdict.label,
    }
    return {f"gpucv.{key}": clean(value) for key, value in tags.items() if value is not None}


def _params(result: Result) -> dict[str, str]:
    """Return every key of the study by its path: ``predictors.0.params.max_depth``."""
    study = tomllib.loads(RunLayout(result.path).study.read_text(encoding="utf-8"))
    return {_key(path): clean(value, longest=500) for path, value in _flat(study, "")}


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        yield path, ", ".join(map(str, value))
    elif isinstance(value, dict | list):
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in named:
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _fold_metrics(folds: pd.DataFrame) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each fold's scores, at the number it has in the plan."""
    for step, (_, fold) in enumerate(folds.iterrows()):
        where = _series(str(fold["scheme"]), str(fold["predictor"]), str(fold["transform"]))
        yield step, _finite({f"{where}/fold_{name}": fold[name] for name in _PER_FOLD})


def _scheme_metrics(result: Result) -> dict[str, float]:
    """Return each scheme's means, and how many folds stand behind them."""
    metrics: dict[str, float] = {}
    for verdict in result.verdicts:
        what = verdict.formulation
        for summary in verdict.schemes:
            where = _series(summary.scheme, what.predictor, what.transform)
            metrics |= {f"{where}/mean_{name}": mean for name, mean in summary.averages.items()}
            metrics[f"{where}/worst_test_mape"] = summary.worst_mape
            metrics[f"{where}/n_folds"] = summary.n_finished
            metrics[f"{where}/n_folds_planned"] = summary.n_planned
    return _finite(metrics)


def _finite(metrics: dict[str, Any]) -> dict[str, float]:
    """Leave out what has no value: not every store keeps NaN."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _series(scheme: str, predictor: str, transform: str) -> str:
    named = predictor if transform == "raw" else f"{predictor} on {transform}"
    return f"{_key(scheme)}/{_key(named)}"


def _key(name: str) -> str:
    """Write a name with the characters MLflow takes, any other one by its number.

    Dots lead nowhere in it: a store may keep each series in a file of that name.
    """
    plain = re.sub(r"[^A-Za-z0-9_. -]", lambda found: f"_{ord(found[0]):x}", name)
    return re.sub(r"^\.+", lambda found: "_" * len(found[0]), plain)[:100] or "_"


def store_searches(
    prepared: PreparedStudy, result: Result, records: Iterable[FoldRecord], storage: SearchStorage
) -> int:
    """Write what every fold tried as one Optuna study each, as optuna-dashboard shows it.

    Their names are ``run folder / scheme / holdout / predictor``, and the group where a
    predictor is fitted per group. Nothing is read back: a search is never resumed from there.

    Returns
    -------
    int
        How many studies were written.

    Raises
    ------
    EnvironmentFaultError
        If the storage cannot be written, or has studies of these names.
    """
    rules = {task.fold_id: task.predictor.choose for task in prepared.tasks}
    written = 0
    for record in records:
        rule = rules.get(record.fold_id)
        if rule is None or not rule.space:
            continue
        place = (result.path.name, record.scheme, record.holdout, record.predictor)
        for group, chosen in record.chosen.get("by_group", {"": record.chosen}).items():
            if not chosen.get("candidates"):
                continue
            name = " / ".join(clean(part) for part in (*place, group) if part)
            storage.write(name, rule, chosen["candidates"])
            written += 1
    return written
