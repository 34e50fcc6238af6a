"""Grouped cross-validation of LLM step-time models.

Does a performance model hold on configurations it has never seen?

>>> import gpucv
>>> result = gpucv.run("examples/h3-generalization.toml")  # doctest: +SKIP
>>> result.folds  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv._version import __version__

if TYPE_CHECKING:
    from gpucv.study import load_study
    from gpucv.workflow import Result, audit, compare, resume, run

__all__ = ["Result", "__version__", "audit", "compare", "load_study", "resume", "run"]

_WHERE = {
    "Result": "gpucv.workflow",
    "audit": "gpucv.workflow",
    "compare": "gpucv.workflow",
    "load_study": "gpucv.study",
    "resume": "gpucv.workflow",
    "run": "gpucv.workflow",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import gpucv` costs nothing.
    if name not in _WHERE:
        msg = f"module 'gpucv' has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
