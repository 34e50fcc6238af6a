#!/usr/bin/env python3
"""Make .venv: gpucv, editable, on exactly the packages that requirements/*.txt lock.

Standard library only. uv does the work where it is found, else venv and pip; both check every
download against the hashes of the lock. Where neither works, one sentence says what to install.
A complete .venv is left alone. One that is half made, or of another lock, another extra or
another folder is removed and made anew: keep nothing in it that cannot be installed again.

Usage: python3 scripts/bootstrap.py [--extra cpu|cuda12|cuda13] [--group test|lint|docs|bench]...
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    State = dict[str, Any]  # what a .venv holds; kept as JSON inside it

__all__ = [
    "SetupError",
    "main",
    "make_venv",
    "missing_locks",
    "newer_python",
    "state_of",
    "state_wanted",
]

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
# What each extra downloads, where that is worth a word before it starts.
EXTRAS = {"cpu": "", "cuda12": "about 3.4 GB", "cuda13": "about 2.6 GB"}
GROUPS = ("test", "lint", "docs", "bench")
STAMP = "gpucv-setup.json"
# Settings of the user's shell that would send packages elsewhere or refuse the editable install.
UNWANTED = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
UNWANTED |= {"PIP_REQUIRE_HASHES", "PIP_CONSTRAINT", "UV_REQUIRE_HASHES", "UV_CONSTRAINT"}


class SetupError(Exception):
    """Set-up cannot go on; the message says what is missing and what to do."""


def main() -> int:
    """Bring .venv to what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Make .venv with gpucv in it.")
    parser.add_argument("--extra", choices=sorted(EXTRAS), help="default: as it is, else cpu")
    parser.add_argument("--group", choices=GROUPS, action="append", default=[])
    asked = parser.parse_args()
    try:
        if sys.version_info < OLDEST:
            again = newer_python()
            os.execv(again[0], [*again, __file__, *sys.argv[1:]])
        with only_one(ROOT):
            make_venv(ROOT, asked.extra, asked.group)
    except (SetupError, OSError) as error:
        say(f"stopped: {error}")
        return 4
    except KeyboardInterrupt:
        say("interrupted; the next call starts afresh")
        return 130
    return 0


def say(words: str) -> None:
    """Tell the user on stderr: stdout belongs to the command that set-up precedes."""
    print(f"set-up: {words}", file=sys.stderr, flush=True)


def newer_python() -> list[str]:
    """Return the command of a Python that can run this script, or raise `SetupError`."""
    for name in ("python3.13", "python3.12", "python3.11"):
        found = shutil.which(name)
        # A pyenv shim is on PATH even where its Python is not switched on, so try it.
        if found and runs([found, "-c", ""]):
            return [found]
    uv = shutil.which("uv")
    if uv:
        return [uv, "run", "--no-project", "--python", ">=3.11,<3.14", "python"]
    here = ".".join(map(str, sys.version_info[:2]))
    raise SetupError(f"gpucv needs Python 3.11 or newer, this is {here}; install 3.12, or uv")


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Let one set-up of this checkout run at a time; the others wait for it."""
    # The lock sits on a file that is there anyway, so nothing is left behind. The kernel frees
    # it however the process ends, but not before an installer it started has ended too.
    with (root / "pyproject.toml").open("rb") as held:
        os.set_inheritable(held.fileno(), True)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work here, waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def make_venv(root: Path, extra: str | None, groups: list[str]) -> None:
    """Bring ``root/.venv`` to `extra` (None: as it is, else cpu) with at least `groups`."""
    venv = root / ".venv"
    held = state_of(venv)
    extra = extra or held.get("extra", "cpu")
    kept = {name for name in held.get("locks", ()) if name in GROUPS}
    wanted = state_wanted(root, extra, {*groups, *kept})
    missing = missing_locks(held, wanted)
    if not missing and held["project"] == wanted["project"]:
        return
    if EXTRAS[extra] and extra in missing:
        say(f"{extra} downloads {EXTRAS[extra]}")
    # From here until the new stamp stands, .venv counts as half made.
    if held:
        (venv / STAMP).unlink()
    install(root, wanted, missing)
    wanted["distributions"] = distributions(venv)
    part = venv / f"{STAMP}.part"
    part.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
    part.replace(venv / STAMP)
    say("done, .venv/bin/gpucv is ready")


def state_of(venv: Path) -> State:
    """Return the state a complete `venv` was stamped with, ``{}`` if it is not complete."""
    try:
        state: State = json.loads((venv / STAMP).read_text(encoding="utf-8"))
        # Found, not imported: a slip in gpucv's own code is no reason to make .venv anew.
        look = "import importlib.util as u, sys; sys.exit(u.find_spec('gpucv') is None)"
        whole = (
            set(state["distributions"]) <= set(distributions(venv))
            and (venv / "bin" / "gpucv").is_file()
            and runs([str(venv / "bin" / "python"), "-c", look])
        )
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return state if whole else {}


def state_wanted(root: Path, extra: str, groups: set[str]) -> State:
    """Return the state of a complete .venv: all that decides what belongs in it."""
    names = [extra, "build", *sorted(groups)]
    files = {name: root / "requirements" / f"{name}.txt" for name in names}
    made_from = [root / "pyproject.toml", root / "src" / "gpucv" / "_version.py"]
    return {
        "root": str(root),  # a moved .venv is broken: its scripts name their old folder
        "extra": extra,
        "locks": {name: digest(path.read_bytes()) for name, path in files.items()},
        "project": digest(b"".join(path.read_bytes() for path in made_from)),
    }


def missing_locks(held: State, wanted: State) -> list[str]:
    """Name the lock files to install to get from one state to the other.

    All of them, the extra's own included, where .venv has to be made anew: the XGBoost wheels
    of two extras own the same folder, and an old pin may leave files behind.
    """
    here: dict[str, str] = held.get("locks", {})
    same = all(wanted["locks"].get(name) == was for name, was in here.items())
    if same and held.get("root") == wanted["root"]:
        return [name for name in wanted["locks"] if name not in here]
    return list(wanted["locks"])


def install(root: Path, wanted: State, missing: list[str]) -> None:
    """Install the `missing` locks and gpucv itself by the first way that works."""
    everything = list(wanted["locks"])
    quiet = [] if EXTRAS[wanted["extra"]] else ["--quiet"]
    uv = shutil.which("uv")
    if uv:
        try:
            by_uv([uv, *quiet], root, missing, fresh=missing == everything)
        except subprocess.CalledProcessError:
            say("uv failed (its own words stand above), trying venv and pip")
        else:
            return
    pip = [str(root / ".venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    if not runs([*pip, "--version"]):
        missing = everything  # uv made this .venv, is gone, and puts no pip inside
    by_pip([*pip, *quiet], root, missing, fresh=missing == everything)


def by_uv(uv: list[str], root: Path, locks: list[str], *, fresh: bool) -> None:
    """Install by uv; raise ``CalledProcessError`` where it fails."""
    venv = root / ".venv"
    if fresh:
        remove(venv)
        call([uv[0], "venv", "--quiet", "--no-project", "--python", base_python(), str(venv)])
    fill([*uv, "pip", "install", "--python", str(venv / "bin" / "python")], root, locks)


def by_pip(pip: list[str], root: Path, locks: list[str], *, fresh: bool) -> None:
    """Install by the standard library's venv and the pip it brings; raise `SetupError`."""
    venv = root / ".venv"
    if fresh:
        remove(venv)
        made = runs([base_python(), "-m", "venv", str(venv)]) and runs([*pip, "--version"])
        if not made:
            remove(venv)
            raise SetupError(
                f"{base_python()} cannot make a virtual environment; "
                "install python3-venv (apt install python3-venv), or uv"
            )
    try:
        fill([*pip, "install", "--no-compile"], root, locks)
    except subprocess.CalledProcessError:
        raise SetupError(
            "pip failed (its own words stand above); if they speak of the network, try again"
        ) from None


def fill(installer: list[str], root: Path, locks: list[str]) -> None:
    """Install `locks`, then gpucv itself, editable, by its locked build backend."""
    if locks:
        say(f"installing {', '.join(locks)} by {'pip' if '-m' in installer else 'uv'}")
        files = [f"--requirement=requirements/{name}.txt" for name in locks]
        call([*installer, "--require-hashes", "--only-binary=:all:", *files], root)
    call([*installer, "--no-deps", "--no-build-isolation", "--editable", "."], root)


def base_python() -> str:
    """Return the Python under this one: a .venv's own Python cannot make that .venv anew."""
    return getattr(sys, "_base_executable", None) or sys.executable


def clean_environment() -> dict[str, str]:
    """Return the environment without the settings that would misdirect an install."""
    return {name: value for name, value in os.environ.items() if name not in UNWANTED}


def call(command: list[str], cwd: Path | None = None) -> None:
    """Run `command` with its words on stderr; raise ``CalledProcessError`` if it fails."""
    settings = clean_environment()
    subprocess.run(command, cwd=cwd, env=settings, stdout=sys.stderr, close_fds=False, check=True)


def runs(command: list[str]) -> bool:
    """Say whether `command` ends well, whatever it prints."""
    silent = subprocess.DEVNULL
    try:
        return not subprocess.call(command, env=clean_environment(), stdout=silent, stderr=silent)
    except OSError:
        return False


def remove(venv: Path) -> None:
    """Remove what stands at `venv`, a link without what it points to."""
    if venv.is_symlink() or venv.is_file():
        venv.unlink()
    elif venv.exists():
        say("removing the .venv that is here: half made, or of another lock, extra or folder")
        shutil.rmtree(venv)


def distributions(venv: Path) -> list[str]:
    """Return the installed distributions, as the names of their metadata folders."""
    return sorted(path.name for path in venv.glob("lib/python3*/site-packages/*.dist-info"))


def digest(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
