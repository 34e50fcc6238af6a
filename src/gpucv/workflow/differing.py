"""What two runs differ in beside their results: data, study, versions, machine."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError
from gpucv.runs import RunLayout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpucv.workflow.result import Result

__all__ = ["DIFFERENCE_COLUMNS", "differences", "settings_by_key"]

DIFFERENCE_COLUMNS = ("run", "about", "what", "baseline", "value", "refused")
"""A row per difference. `refused` is whether it makes the runs answer different questions."""

_ABSENT = "-"
_TARGET = "data.target"
# Of a study's data section: which rows and which numbers they hold, if the data is the same.
_ROWS_OF = (
    *("where", "sample", "repeats", "experiment", "order_by", "bad_rows", "below_floor"),
    "constants",
)
_HARDWARE = ("cpu", "cores", "gpus")
_PLACEMENT = ("backend", "processes", "at_once", "threads_per_fold", "training")


def differences(before: Result, after: Result, *, timed: bool) -> list[dict[str, Any]]:
    """List what differs between two runs.

    Parameters
    ----------
    before, after : Result
    timed : bool
        Whether their times are to be compared: then other hardware or another placement of
        folds is refused as well.

    Returns
    -------
    list of dict
        `DIFFERENCE_COLUMNS` but the run. Values are text.

    Raises
    ------
    RunError
        If the study of a run cannot be read.
    """
    old, new = _Facts(before), _Facts(after)
    same_data = old.manifest["data_fingerprint"] == new.manifest["data_fingerprint"]
    told = [] if same_data else _differing("data", old.data(), new.data(), refused=True)
    told += _differing("target", old.target(), new.target(), refused=True)
    told += _differing("device", old.device(), new.device(), refused=True)
    told += _differing("features", old.features(), new.features())
    told += _differing("study", old.settings(), new.settings())
    told += _differing("versions", old.versions(), new.versions())
    told += _differing("hardware", old.hardware(), new.hardware(), refused=timed)
    told += _differing("host", old.host(), new.host())
    return told + _differing("placement", old.placement(), new.placement(), refused=timed)


def _differing(
    about: str, old: Mapping[str, Any], new: Mapping[str, Any], *, refused: bool = False
) -> list[dict[str, Any]]:
    return [
        {
            "about": about,
            "what": what,
            "baseline": _text(old.get(what)),
            "value": _text(new.get(what)),
            "refused": refused,
        }
        for what in dict.fromkeys([*old, *new])
        if old.get(what) != new.get(what)
    ]


def _text(value: Any) -> str:
    return _ABSENT if value is None else str(value)


class _Facts:
    """What a run says of itself, by name."""

    def __init__(self, result: Result) -> None:
        self.manifest = result.manifest
        self._study = _study(RunLayout(result.path))

    def data(self) -> dict[str, Any]:
        """Return what decides the rows; equal where only the features differ."""
        manifest = self.manifest
        hashes = sorted(str(source["sha256"])[:12] for source in manifest["data"])
        section = self._study.get("data", {})
        return {
            "the data's sha256": ", ".join(hashes),
            "rows": manifest.get("rows"),
            "--limit": manifest["limit"],
            "synthetic": manifest["synthetic"],
            **{f"data.{name}": section.get(name) for name in _ROWS_OF},
        }

    def target(self) -> dict[str, Any]:
        return {_TARGET: self._study.get("data", {}).get("target")}

    def device(self) -> dict[str, Any]:
        device = self.manifest["device"]
        return {"device": ", ".join(device.get("by_fold") or [str(device.get("used"))])}

    def features(self) -> dict[str, Any]:
        """Return what tells features apart that the data is not to blame for."""
        manifest = self.manifest
        return {
            "features": len(manifest.get("features", [])),
            "feature table": str(manifest["data_fingerprint"])[:12],
        }

    def settings(self) -> dict[str, Any]:
        """Return every setting of the study that is named nowhere else, by its key."""
        study = {k: v for k, v in self._study.items() if k not in ("data", "execution")}
        return dict(settings_by_key(study))

    def versions(self) -> dict[str, Any]:
        versions = self.manifest["machine"].get("versions", {})
        return {**versions, "gpucv's revision": self.manifest.get("revision")}

    def hardware(self) -> dict[str, Any]:
        machine = {name: self.manifest["machine"].get(name) for name in _HARDWARE}
        machine["gpus"] = ", ".join(_gpu(gpu) for gpu in machine["gpus"] or [])
        return machine

    def host(self) -> dict[str, Any]:
        machine = self.manifest["machine"]
        return {"host": machine.get("host"), "system": machine.get("system")}

    def placement(self) -> dict[str, Any]:
        placement = self.manifest.get("placement", {})
        return {name: placement.get(name) for name in _PLACEMENT}


def _gpu(gpu: Any) -> str:
    return str(gpu.get("name", gpu)) if isinstance(gpu, dict) else str(gpu)


def _study(layout: RunLayout) -> dict[str, Any]:
    try:
        return tomllib.loads(layout.study.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot read {layout.study}: {reason}; is this a run folder?"
        raise RunError(msg) from error


def settings_by_key(value: Any, key: str = "") -> Iterable[tuple[str, Any]]:
    """Yield a study's settings as ``predictors.0.params.max_depth``, as --set names them."""
    if isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = enumerate(value)
    else:
        yield key, value
        return
    for name, item in items:
        yield from settings_by_key(item, f"{key}.{name}" if key else str(name))
