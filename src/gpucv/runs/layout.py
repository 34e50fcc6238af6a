"""Where everything in a run folder lies, and how files get there whole.

A file appears under its own name complete or not at all: it is written beside its
place, flushed to the disk, then renamed. A fold's files appear together, by the
rename of their folder. Generated paths hold only numbers, never names from data.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "RunLayout",
    "atomic_write",
    "atomic_write_with",
    "make_folder",
    "new_run_folder",
    "read_json",
    "sha256_of",
    "to_json",
]


class RunLayout:
    """The paths of one run folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study = root / "study.toml"
        self.manifest = root / "manifest.json"
        self.plan = root / "plan.csv"
        self.lock = root / ".lock"
        self.lock_holder = root / ".lock-holder"
        self.table = root / "table.parquet"
        self.folds = root / "folds"
        self.folds_csv = root / "folds.csv"
        self.experiments_csv = root / "experiments.csv"
        self.importance_csv = root / "importance.csv"
        self.stability_csv = root / "stability.csv"
        self.leaderboard_csv = root / "leaderboard.csv"
        self.differences_csv = root / "differences.csv"
        self.donors_csv = root / "donors.csv"
        self.few_shot_csv = root / "few_shot.csv"
        self.next_rows_csv = root / "next_rows.csv"
        self.intervals_csv = root / "intervals.csv"
        self.coverage_csv = root / "coverage.csv"
        self.errors_csv = root / "errors.csv"
        self.outside_csv = root / "outside.csv"
        self.explanations_csv = root / "explanations.csv"
        self.timeline_csv = root / "timeline.csv"
        self.gpu_csv = root / "gpu.csv"
        self.timeline_svg = root / "timeline.svg"
        self.predictions = root / "predictions.parquet"
        self.verdict = root / "verdict.json"
        self.audit = root / "audit.json"
        self.tuned = root / "tuned.toml"
        self.findings = root / "FINDINGS.md"
        self.page = root / "report.html"

    def fold(self, fold_id: int) -> Path:
        """Return the folder of one finished fold."""
        return self.folds / f"{fold_id:04d}"

    def outputs(self) -> list[Path]:
        """Return the files of a finished run that its manifest vouches for."""
        whole = [
            self.study,
            self.plan,
            self.folds_csv,
            self.experiments_csv,
            self.importance_csv,
            self.stability_csv,
            self.leaderboard_csv,
            self.differences_csv,
            self.donors_csv,
            self.few_shot_csv,
            self.next_rows_csv,
            self.intervals_csv,
            self.coverage_csv,
            self.errors_csv,
            self.outside_csv,
            self.explanations_csv,
            self.timeline_csv,
            self.gpu_csv,
            self.timeline_svg,
            self.predictions,
            self.verdict,
            self.audit,
            self.tuned,
            self.findings,
            self.page,
        ]
        return [path for path in whole if path.exists()]


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
    EnvironmentFaultError
        If `out` holds anything already, or its place cannot be written to.
    """
    if out is None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "study"
        out = Path("runs") / f"{stamp}-{plain}-{secrets.token_hex(4)}"
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
        nearest = next(parent for parent in [out, *out.absolute().parents] if parent.exists())
        writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot create {str(out)[:200]}: {reason}; choose another --out"
        raise EnvironmentFaultError(msg) from error
    if taken:
        is_run = RunLayout(out).manifest.exists()
        finish = f", or finish the run there with: gpucv resume {shlex.quote(str(out))}"
        msg = f"{out} exists and is not an empty folder; choose another --out"
        raise EnvironmentFaultError(msg + (finish if is_run else ""))
    if not writable:
        msg = f"cannot create {out}: {nearest} is not a writable folder; choose another --out"
        raise EnvironmentFaultError(msg)
    return out


def make_folder(path: Path) -> None:
    """Make a folder, and those above it.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot create {path}: {reason}; choose another --out"
        raise EnvironmentFaultError(msg) from error


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    # A path may hold bytes that are no text: they are written as JSON spells them.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    atomic_write_with(path, lambda beside: _write(beside, data))


def atomic_write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then give it that name.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses (full, read-only), or something that is no file has
        that name; no partial file stays.
    """
    if path.exists() and not path.is_file():
        # A rename would put a file in the place of a device or a pipe.
        what = "a folder" if path.is_dir() else "no regular file"
        msg = f"cannot write {path}: it is {what}; name a file"
        raise EnvironmentFaultError(msg)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(beside)
        sync(beside)
        beside.replace(path)
        sync(path.parent)
    except OSError as error:
        # The system's own words: pyarrow's name the file beside `path`, which is gone.
        reason = os.strerror(error.errno) if error.errno else error
        msg = f"cannot write {path}: {reason}"
        raise EnvironmentFaultError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that becomes `path` if all goes well.

    A `path` that appears meanwhile stays as it is: a twin of this work, on a worker
    thought lost, was faster.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses (full, read-only); no partial folder stays.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        beside.mkdir(parents=True)
        yield beside
        for file in beside.iterdir():
            sync(file)
        sync(beside)
        try:
            beside.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync(path.parent)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: Any) -> str:
    """Return `value` as JSON, NaN and infinities written as null."""
    return json.dumps(_finite(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises
    ------
    RunError
        If the file is missing, damaged or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot read {path}: {reason}; is this a run folder?"
        raise RunError(msg) from error
    if not isinstance(value, dict):
        msg = f"{path} holds a {type(value).__name__}, not an object; is this a run folder?"
        raise RunError(msg)
    return value


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) <= _LARGEST else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


_LARGEST = 1.7976931348623157e308
