"""Boosters in and out of bytes, and a first look at a stranger's in a process of its own.

A damaged model file may end the process that reads it. So a file from elsewhere is read by
another process first, which has to answer golden rows before this one opens it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError, EnvironmentFaultError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["answer_from_stdin", "margins", "must_survive", "open_booster", "to_bytes"]

_SECONDS = 120
"""For a process to start, read a model and answer a few hundred rows."""


def open_booster(content: bytes) -> Any:
    """Return the booster a model file holds, JSON or UBJ; hash-checked before.

    Raises
    ------
    DataError
        If XGBoost refuses it.
    """
    import xgboost

    # One thread: 100,000 rows gain little from more, and a few wait for others to start.
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(content))
        booster.save_config()  # sets it up, so that threads may ask it at once
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        told = str(error).split("Stack trace:", 1)[0].split()
        # Behind the time and the place in XGBoost's source, where it names them.
        reason = re.sub(r"^\[\S+ \S+: ", "", " ".join(told)) or "no reason given"
        msg = f"XGBoost cannot read the model: {reason[:200]}"
        raise DataError(msg) from error
    return booster


def to_bytes(model: bytes, rounds: int | None = None) -> tuple[bytes, bytes]:
    """Return a fitted model as JSON and as UBJ, of its first `rounds` rounds where given."""
    booster = open_booster(model)
    if rounds is not None and rounds < booster.num_boosted_rounds():
        booster = booster[:rounds]
    return bytes(booster.save_raw("json")), bytes(booster.save_raw("ubj"))


def margins(booster: Any, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return XGBoost's own sums: base score, then tree by tree, in float32.

    Parameters
    ----------
    booster : xgboost.Booster
    X : ndarray of float32, shape (n, n_features)
        NaN is missing.

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    if not len(X):
        return np.empty(0, dtype=np.float32)
    found: NDArray[np.float32] = booster.inplace_predict(
        np.ascontiguousarray(X), predict_type="margin"
    )
    return found.astype(np.float32)


def must_survive(content: bytes, X: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    """Let another process read a model and answer golden rows.

    Parameters
    ----------
    content : bytes
        The model file.
    X : ndarray of float32, shape (n, n_features)
    wanted : ndarray of float32, shape (n,)
        The margins it must give.

    Raises
    ------
    DataError
        If that process ends, or answers otherwise.
    EnvironmentFaultError
        If no process can be started.
    """
    head = json.dumps({"shape": X.shape, "model": len(content)}).encode() + b"\n"
    program = "from gpucv.export.boosters import answer_from_stdin; answer_from_stdin()"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],  # nothing of the current folder is loaded
            input=head + content + X.tobytes(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        msg = f"cannot start a process to try the model in: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"reading the model did not end within {_SECONDS} s; get the set again"
        raise DataError(msg) from error
    if done.returncode < 0:
        msg = f"reading the model ends the process (signal {-done.returncode}); get the set again"
        raise DataError(msg)
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = told[-1].removeprefix("gpucv.errors.DataError: ") if told else "no reason given"
        msg = f"another process cannot read the model: {reason[:260]}; get the set again"
        raise DataError(msg)
    if done.stdout != wanted.astype(np.float32).tobytes():
        msg = "the model does not give the margins of its golden rows; get the set again"
        raise DataError(msg)


def answer_from_stdin() -> None:
    """Read a model and rows from stdin, and write the margins to stdout, as bytes."""
    head = json.loads(sys.stdin.buffer.readline())
    booster = open_booster(sys.stdin.buffer.read(head["model"]))
    X = np.frombuffer(sys.stdin.buffer.read(), dtype=np.float32).reshape(head["shape"])
    sys.stdout.buffer.write(margins(booster, X).tobytes())
