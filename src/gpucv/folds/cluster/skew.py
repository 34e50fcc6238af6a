"""Other libraries on a worker than here give other results: refused before any fold runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpucv.machine import Device

__all__ = ["skew_between"]

_DECIDING = ("gpucv", "numpy", "scipy", "scikit-learn", "optuna")
_ABSENT = "missing"


def skew_between(
    here: Mapping[str, str], workers: Mapping[str, Mapping[str, str]], device: Device
) -> str:
    """Return what differs, in one line, "" if nothing does.

    Of Python the minor version counts, of XGBoost its version and its wheel. Where folds
    run on GPUs this process trains nothing: then the wheel, and cuDF, need to be the same
    among the workers only.

    Parameters
    ----------
    here : mapping of str to str
        Versions of this process, by distribution.
    workers : mapping of str to mapping
        Versions of each worker, by its name.
    device : {"cpu", "cuda"}

    Returns
    -------
    str
        Of each package this process's version, then the workers' by version:
        ``numpy 2.4.6 here, 2.3.5 on w0 and 2 more``.
    """
    mine = _deciding(here, device)
    if device == "cuda":
        mine |= dict.fromkeys(_ON_GPU_AMONG_WORKERS, "")
    theirs = {name: _deciding(versions, device) for name, versions in workers.items()}
    told = []
    for package, here_is in mine.items():
        there: dict[str, list[str]] = {}
        for name, versions in theirs.items():
            there.setdefault(versions[package], []).append(name)
        there.pop(here_is, None)
        found = [f"{here_is} here"] if here_is else []
        found += [f"{version} on {_some(names)}" for version, names in there.items()]
        if len(found) > 1:
            told.append(f"{package} {', '.join(found)}")
    return "; ".join(told)


def _some(names: Sequence[str]) -> str:
    """Return the first name, and how many there are beside it."""
    return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")


_ON_GPU_AMONG_WORKERS = ("XGBoost wheel", "cudf")


def _deciding(versions: Mapping[str, str], device: Device) -> dict[str, str]:
    """Return what decides results, by name; what is not installed is "missing"."""
    wheels = {name: at for name, at in versions.items() if name.startswith("xgboost")}
    found = {"python": ".".join(versions.get("python", _ABSENT).split(".")[:2])}
    found |= {name: versions.get(name, _ABSENT) for name in _DECIDING}
    found["XGBoost"] = " and ".join(sorted(set(wheels.values()))) or _ABSENT
    found["XGBoost wheel"] = " and ".join(sorted(wheels)) or _ABSENT
    if device == "cuda":
        frames = [f"{name} {at}" for name, at in versions.items() if name.startswith("cudf")]
        found["cudf"] = " and ".join(frames) or _ABSENT
    return found
