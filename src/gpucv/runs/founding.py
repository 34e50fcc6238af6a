"""Where a new run goes: a folder that holds nothing yet."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from datetime import UTC, datetime
from pathlib import Path

from gpucv.errors import EnvironmentFaultError, RunLockedError
from gpucv.runs.layout import RunLayout
from gpucv.runs.lock import lock_holder

__all__ = ["must_be_text", "new_run_folder"]


def new_run_folder(name: str, out: Path | None) -> Path:
    """Return the folder a new run will be written to; nothing is created yet.

    Parameters
    ----------
    name : str
        The study's name; only its letters, digits and dashes get into the path.
    out : Path or None
        The folder asked for; None makes ``runs/<UTC>-<name>-<8 hex>``.

    Raises
    ------
    RunLockedError
        If another process is writing a run there.
    EnvironmentFaultError
        If `out` holds anything already, or its place cannot be written to. What a run leaves
        that was killed before it began its first fold is nothing.
    """
    if out is None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "study"
        out = Path("runs") / f"{stamp}-{plain}-{secrets.token_hex(4)}"
    must_be_text(out)
    try:
        taken = out.exists() and (not out.is_dir() or not _is_free(out))
        nearest = next(parent for parent in [out, *out.absolute().parents] if parent.exists())
        writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot create {str(out)[:200]}: {reason}; choose another --out"
        raise EnvironmentFaultError(msg) from error
    if taken:
        if holder := lock_holder(out):
            msg = f"{out} is being written by {holder}; wait for it, or choose another --out"
            raise RunLockedError(msg)
        is_run = RunLayout(out).manifest.exists()
        finish = f", or finish the run there with: gpucv resume {shlex.quote(str(out))}"
        msg = f"{out} exists and is not an empty folder; choose another --out"
        raise EnvironmentFaultError(msg + (finish if is_run else ""))
    if not writable:
        msg = f"cannot create {out}: {nearest} is not a writable folder; choose another --out"
        raise EnvironmentFaultError(msg)
    return out


def must_be_text(folder: Path) -> None:
    """Refuse a folder for a run that libraries written in C++, and Dask, cannot name.

    Raises
    ------
    EnvironmentFaultError
        If its path holds bytes that are no text, as this process reads file names.
    """
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        msg = (
            f"cannot create {str(folder)[:200]}: its path is no text in UTF-8; choose another "
            "--out, or set LC_ALL=C.UTF-8"
        )
        raise EnvironmentFaultError(msg) from error


def _is_free(folder: Path) -> bool:
    """Return whether a folder holds nothing, or nothing but a run that never came to be.

    A run locks its folder before it writes there, and its manifest is the last thing written
    before folds begin; somebody's own ``study.toml`` lies beside no lock.
    """
    found = {path.name for path in folder.iterdir()}
    if not found:
        return True
    layout = RunLayout(folder)
    ours = {path.name for path in (layout.study, layout.plan, layout.lock, layout.lock_holder)}
    kept = {name for name in found - ours if not re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", name)}
    begun = layout.folds.is_dir() and any(layout.folds.iterdir())
    return layout.lock.name in found and kept <= {layout.folds.name} and not begun
