"""May a run go on from what it has? Only if everything that decides a result is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError
from gpucv.machine import package_versions
from gpucv.report.csv import read_csv
from gpucv.study import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.runs import RunLayout
    from gpucv.study import Study
    from gpucv.workflow.preparation import PreparedStudy

__all__ = ["began_training", "must_be_same_study", "must_be_unchanged"]


def must_be_same_study(layout: RunLayout, manifest: Mapping[str, Any], study: Study) -> None:
    """Refuse another study; asked before its data is read, or a cluster is."""
    _must_be_same("study", layout, str(manifest.get("study_fingerprint")), fingerprint(study))


def must_be_unchanged(
    layout: RunLayout, manifest: Mapping[str, Any], prepared: PreparedStudy
) -> None:
    """Refuse to mix results of two states of the data, devices, trainings or libraries."""
    now_is = prepared.origin()
    before, after = str(manifest.get("data_fingerprint")), now_is["data_fingerprint"]
    _must_be_same("data", layout, before, after, _data_difference(manifest, now_is))
    began, here = manifest["device"].get("used"), prepared.device.device
    if began != here:
        msg = (
            f"{layout.root} began on device {began!r}, and here it would go on with {here!r} "
            f"({prepared.device.reason}), whose trees differ; resume it there or start a new run"
        )
        raise RunError(msg)
    trained, training = began_training(manifest), prepared.placement.training
    if trained != training:
        msg = (
            f"{layout.root} began with training {trained!r}, and here it would go on with "
            f"{training!r}, whose results differ; leave execution.training out, or start a new run"
        )
        raise RunError(msg)
    old = _deciding(manifest["machine"].get("versions", {}))
    new = _deciding(package_versions())
    if old != new:
        changed = ", ".join(
            f"{name} {old.get(name, 'missing')} then, {new.get(name, 'missing')} now"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        )
        msg = (
            f"{layout.root} began with other libraries, whose results may differ ({changed}); "
            "install those versions again or start a new run"
        )
        raise RunError(msg)
    planned = read_csv(layout.plan, {"fold_id": "count", "key": "text"})
    if planned["key"].tolist() != [task.key for task in prepared.tasks]:
        msg = (
            f"{layout.root}: this gpucv plans other folds than {layout.plan} lists; "
            "resume with the version that began it, or start a new run"
        )
        raise RunError(msg)


def _must_be_same(what: str, layout: RunLayout, before: str, after: str, told: str = "") -> None:
    if before != after:
        msg = (
            f"{layout.root}: the {what} is not the one this run began with "
            f"({what} fingerprint {before[:16]} then, {after[:16]} now){told}; "
            "start a new run instead"
        )
        raise RunError(msg)


def began_training(manifest: Mapping[str, Any]) -> str:
    """Return how the run's boosters are trained; runs without a placement had them in memory."""
    training: str = manifest.get("placement", {}).get("training", "in-memory")
    return training


def _deciding(versions: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the libraries that decide splits, fits, choices and scores."""
    deciding = ("numpy", "scikit-learn", "scipy", "optuna")
    return {
        "XGBoost" if name.startswith("xgboost") else name: version
        for name, version in versions.items()
        if name in deciding or name.startswith("xgboost")
    }


def _data_difference(manifest: Mapping[str, Any], now_is: Mapping[str, Any]) -> str:
    before = {source["path"]: source["sha256"] for source in manifest.get("data", [])}
    after = {source["path"]: source["sha256"] for source in now_is["data"]}
    changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    if changed:
        return f": changed {', '.join(changed)}"
    computed = manifest.get("features_on", "numpy"), now_is["features_on"]
    if computed[0] != computed[1]:
        return f": {computed[0]} computed the features then, {computed[1]} now"
    return ": gpucv computes it otherwise now"
