"""The packages installed, read from their metadata: nothing is imported."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import TYPE_CHECKING

from gpucv._version import __version__
from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CUDF",
    "CUPY",
    "INSTALL",
    "RAPIDS",
    "cuda_majors",
    "frame_library",
    "installed",
    "package_versions",
    "require_xgboost",
    "xgboost_distributions",
]

INSTALL = 'pip install "gpucv[cpu]" (or gpucv[cuda12], gpucv[cuda13])'

# A library goes by one name per CUDA version on PyPI, and by its plain name under conda.
CUDF = ("cudf-cu12", "cudf-cu13", "cudf")
CUPY = ("cupy-cuda12x", "cupy-cuda13x", "cupy")
RAPIDS = (*CUDF, "rmm-cu12", "rmm-cu13", "rmm", "dask-cuda", "rapids-dask-dependency")
_CUDA_NAME = re.compile(r"-cu(?:da)?(\d\d)x?$")
_XGBOOST = ("xgboost-cpu", "xgboost", "xgboost-cu12", "xgboost-cu13")
_PACKAGES = (
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "optuna",
    "dask",
    "distributed",
    *CUPY,
    *RAPIDS,
)


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return which of these distributions are installed, with their versions."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def xgboost_distributions() -> dict[str, str]:
    """Return the XGBoost wheels installed, by distribution name, with their versions."""
    return installed(_XGBOOST)


def require_xgboost() -> str:
    """Return the name of the one XGBoost distribution installed.

    Raises
    ------
    EnvironmentFaultError
        If there is none, or two that overwrite each other's files.
    """
    found = xgboost_distributions()
    if not found:
        msg = f"XGBoost is missing: {INSTALL}"
        raise EnvironmentFaultError(msg)
    if len(found) > 1:
        both = " and ".join(f"{name} {version}" for name, version in found.items())
        msg = (
            f"{both} are both installed and share one folder; run "
            f"pip uninstall -y {' '.join(found)}, then {INSTALL}"
        )
        raise EnvironmentFaultError(msg)
    return next(iter(found))


def cuda_majors(names: Iterable[str]) -> dict[str, int]:
    """Return the CUDA major version those names say, of the names that say one."""
    said = {name: _CUDA_NAME.search(name) for name in names}
    return {name: int(match[1]) for name, match in said.items() if match}


def frame_library() -> str:
    """Return what tables are computed with on a GPU: "cudf", "cupy", or "numpy" (the host)."""
    if installed(CUDF):
        return "cudf"
    return "cupy" if installed(CUPY) else "numpy"


def package_versions() -> dict[str, str]:
    """Return the versions of gpucv and of what its numbers depend on."""
    own = {"python": platform.python_version(), "gpucv": __version__}
    return own | installed(_PACKAGES) | xgboost_distributions()
