"""May a run go on from what it has? Only if everything that decides a result is the same."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from gpucv._version import __version__
from gpucv.errors import RunError, shown
from gpucv.machine import package_versions
from gpucv.report.csv import read_csv
from gpucv.study import deciding_settings, fingerprint
from gpucv.workflow.differing import settings_by_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.runs import RunLayout
    from gpucv.study import Study
    from gpucv.workflow.preparation import PreparedStudy

__all__ = ["began_training", "must_be_same_study", "must_be_unchanged"]

_SHOWN = 6
"""Differences a message names; the others are counted."""


def must_be_same_study(layout: RunLayout, manifest: Mapping[str, Any], study: Study) -> None:
    """Refuse another study; asked before its data is read, or a cluster is."""
    before, after = str(manifest.get("study_fingerprint")), fingerprint(study)
    if before == after:
        return
    old = _deciding_by_key(manifest.get("study"))
    new = _deciding_by_key(study.model_dump(mode="json", by_alias=True))
    # The manifest of an earlier version holds the fingerprint alone.
    told = (old and _changed(old, new)) or f"fingerprint {before[:16]} then, {after[:16]} now"
    msg = (
        f"{layout.root}: the study is not the one this run began with ({told}); put that back, "
        f"or start a new run: gpucv run {shlex.quote(str(layout.study))} --out NEW_FOLDER"
    )
    raise RunError(msg)


def must_be_unchanged(
    layout: RunLayout, manifest: Mapping[str, Any], prepared: PreparedStudy
) -> None:
    """Refuse to mix results of two states of the data, devices, trainings or libraries."""
    now_is = prepared.origin()
    if manifest.get("data_fingerprint") != now_is["data_fingerprint"]:
        told = _data_difference(manifest, now_is, prepared.study)
        msg = (
            f"{layout.root}: the data is not the one this run began with: {told}; put that "
            f"back, or start a new run: gpucv run {shlex.quote(str(layout.study))} --out NEW_FOLDER"
        )
        raise RunError(msg)
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
    versions = manifest["machine"].get("versions", {})
    if changed := _changed(_deciding(versions), _deciding(package_versions())):
        msg = (
            f"{layout.root} began with other libraries, whose results may differ ({changed}); "
            "install those versions again or start a new run"
        )
        raise RunError(msg)
    planned = read_csv(layout.plan, {"fold_id": "count", "key": "text"})["key"].tolist()
    keys = [task.key for task in prepared.tasks]
    if planned != keys:
        same = sum(before == after for before, after in zip(planned, keys, strict=False))
        msg = (
            f"{layout.root}: this gpucv ({__version__}) plans other folds than {layout.plan}: "
            f"of {len(planned)} then and {len(keys)} now, {same} are the same; resume with the "
            f"version that began it ({versions.get('gpucv', 'unknown')}), or start a new run"
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


def _deciding_by_key(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, dict) or not isinstance(settings.get("data"), dict):
        return {}
    return dict(settings_by_key(deciding_settings(settings)))


def _data_difference(manifest: Mapping[str, Any], now_is: Mapping[str, Any], study: Study) -> str:
    """Return which files changed and how; else what else changed the rows or the features."""
    before = {source["path"]: source for source in manifest.get("data", [])}
    after = {source["path"]: source for source in now_is["data"]}
    if files := [
        f"{path} ({_file_difference(before.get(path), after.get(path))})"
        for path in sorted(before.keys() | after.keys())
        if before.get(path, {}).get("sha256") != after.get(path, {}).get("sha256")
    ]:
        return f"changed {_some(files)}"
    began_with = manifest.get("study")
    if isinstance(began_with, dict):
        old, new = (
            dict(settings_by_key(each.get("data"), "data"))
            for each in (began_with, study.model_dump(mode="json", by_alias=True))
        )
        if changed := _changed(old, new):
            return changed
    computed = manifest.get("features_on", "numpy"), now_is["features_on"]
    if computed[0] != computed[1]:
        return f"{computed[0]} computed the features then, {computed[1]} now"
    return "gpucv computes it otherwise now"


def _file_difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    if before is None or after is None:
        return "it was not read then" if before is None else "it is not read now"
    kept = ("bytes", "rows", "sha256")
    old, new = ({name: str(each.get(name))[:12] for name in kept} for each in (before, after))
    return _changed(old, new)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return what differs, as ``seed: 42 then, 43 now``; "" where nothing does."""
    return _some(
        [
            f"{name} {_told(old, name)} then, {_told(new, name)} now"
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name)
        ]
    )


def _told(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "missing" if value is None else value if isinstance(value, str) else shown(value)


def _some(differences: list[str]) -> str:
    """Return the first few of a list, and how many more there are."""
    more = len(differences) - _SHOWN
    return ", ".join(differences[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
