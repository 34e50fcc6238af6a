"""May a run go on from what it has? Only if everything that decides a result is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError
from gpucv.machine import package_versions
from gpucv.report.csv import read_csv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.runs import RunLayout
    from gpucv.workflow.preparation import PreparedStudy

__all__ = ["must_be_unchanged"]


def must_be_unchanged(
    layout: RunLayout, manifest: Mapping[str, Any], prepared: PreparedStudy
) -> None:
    """Refuse to mix results of two studies, two states of the data, devices or libraries."""
    now_is = prepared.origin()
    for what, key in (("study", "study_fingerprint"), ("data", "data_fingerprint")):
        before, after = manifest.get(key), now_is[key]
        if before != after:
            msg = (
                f"{layout.root}: the {what} is not the one this run began with "
                f"({what} fingerprint {str(before)[:16]} then, {after[:16]} now)"
                f"{_data_difference(manifest, now_is) if what == 'data' else ''}; "
                "start a new run instead"
            )
            raise RunError(msg)
    began, here = manifest["device"].get("used"), prepared.device.device
    if began != here:
        msg = (
            f"{layout.root} began on device {began!r}, and here it would go on with {here!r} "
            f"({prepared.device.reason}), whose trees differ; resume it there or start a new run"
        )
        raise RunError(msg)
    before, after = (
        _deciding(manifest["machine"].get("versions", {})),
        _deciding(package_versions()),
    )
    if before != after:
        changed = ", ".join(
            f"{name} {before.get(name, 'missing')} then, {after.get(name, 'missing')} now"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
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
    return f": changed {', '.join(changed)}" if changed else ": gpucv computes it otherwise now"
