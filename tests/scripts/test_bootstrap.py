"""Set-up, with uv, Python and pip played by one small shell script that keeps a diary."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# `python -m venv D` and `uv venv D` make D/bin/python, and pip with it where it is Python's;
# `install` leaves one distribution per lock; FAIL_AT names what is to go wrong.
ACTOR = """#!/bin/sh
me=${0##*/}
echo "$me $*" >> "$DIARY"
case "$me $*" in *"$FAIL_AT"*) echo "no luck" >&2; exit 1;; esac
packages=.venv/lib/python3.11/site-packages
case "$*" in
  "venv "*|"-m venv "*)
    for folder in "$@"; do :; done
    mkdir -p "$folder/bin"
    cp "$0" "$folder/bin/python"
    if [ "$me" = uv ]; then touch "$folder/without-pip"; fi;;
  "-m pip "*--version)
    test ! -e "${0%/bin/python}/without-pip";;
  *--editable*)
    touch .venv/bin/gpucv
    mkdir -p "$packages/gpucv.dist-info";;
  *--requirement*)
    for word in "$@"; do
      lock=${word#--requirement=requirements/}
      if [ "$word" != "$lock" ]; then mkdir -p "$packages/${lock%.txt}.dist-info"; fi
    done;;
esac
"""


class Checkout:
    """A folder with what set-up reads, and actors for the programs it calls."""

    def __init__(self, folder: Path, bootstrap: Any) -> None:
        self.root = folder / "a check out"
        self.venv = self.root / ".venv"
        self.path = folder / "bin"
        self.diary = folder / "diary"
        self.bootstrap = bootstrap
        self.path.mkdir()
        for name in ("requirements", "scripts", "src/gpucv"):
            (self.root / name).mkdir(parents=True)
        for name in ("cpu", "cuda12", "cuda13", "build", "test", "lint"):
            (self.root / "requirements" / f"{name}.txt").write_text(f"{name}==1\n")
        (self.root / "pyproject.toml").write_text("[project]\n")
        (self.root / "src/gpucv/_version.py").write_text("")
        shutil.copy(bootstrap.__file__, self.root / "scripts")

    def add(self, program: str) -> Path:
        actor = self.path / program
        actor.write_text(ACTOR)
        actor.chmod(0o755)
        return actor

    def set_up(self, *groups: str, extra: str | None = None) -> list[str]:
        """Run set-up and return what it called to install something."""
        self.diary.write_text("")
        self.bootstrap.make_venv(self.root, extra, list(groups))
        return [line for line in self.diary.read_text().splitlines() if " install " in line]

    def stamp(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.venv / "gpucv-setup.json").read_text())
        return found


@pytest.fixture
def checkout(
    tmp_path: Path, script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Checkout:
    made = Checkout(tmp_path, script("bootstrap"))
    python = made.add("python3")
    monkeypatch.setattr(made.bootstrap, "base_python", lambda: str(python))
    monkeypatch.setenv("PATH", f"{made.path}:/usr/bin:/bin")
    monkeypatch.setenv("DIARY", str(made.diary))
    monkeypatch.setenv("FAIL_AT", "never")
    return made


@pytest.fixture(params=["uv", "pip"])
def ready(request: pytest.FixtureRequest, checkout: Checkout) -> Checkout:
    """A checkout that was set up by uv, and one by pip."""
    if request.param == "uv":
        checkout.add("uv")
    checkout.set_up()
    return checkout


def locks_in(calls: list[str]) -> list[str]:
    words = " ".join(calls).split()
    return [Path(word).stem for word in words if word.startswith("--requirement=")]


def test_both_ways_install_the_lock_by_hash_and_then_gpucv_itself(ready: Checkout) -> None:
    shutil.rmtree(ready.venv)
    lock, project = ready.set_up()
    assert locks_in([lock]) == ["cpu", "build"]
    assert {"--require-hashes", "--only-binary=:all:"} <= set(lock.split())
    assert {"--no-deps", "--no-build-isolation", "--editable"} <= set(project.split())
    assert (ready.venv / "bin" / "gpucv").is_file()


def test_uv_is_preferred_where_it_is_found(checkout: Checkout) -> None:
    checkout.add("uv")
    assert all(call.startswith("uv --quiet pip install ") for call in checkout.set_up())


def test_venv_and_pip_do_it_where_uv_is_missing(checkout: Checkout) -> None:
    assert all(call.startswith("python -m pip") for call in checkout.set_up())


def test_pip_does_it_where_uv_fails(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checkout.add("uv")
    monkeypatch.setenv("FAIL_AT", "uv --quiet pip")
    assert checkout.set_up()[-1].startswith("python -m pip")
    assert "uv failed" in capfd.readouterr().err


def test_a_complete_venv_is_left_alone(ready: Checkout) -> None:
    before = ready.stamp()
    assert ready.set_up() == []
    assert ready.stamp() == before


def test_nothing_but_the_check_is_run_for_a_complete_venv(ready: Checkout) -> None:
    ready.set_up()
    (call,) = ready.diary.read_text().splitlines()
    assert call.startswith("python -c ")
    assert "gpucv" in call


def test_a_group_is_added_without_a_rebuild(ready: Checkout) -> None:
    (ready.venv / "mine").touch()
    assert locks_in(ready.set_up("test")) == ["test"]
    assert (ready.venv / "mine").exists()
    assert ready.set_up("test") == []
    assert ready.set_up() == [], "a group that is there stays"
    assert list(ready.stamp()["locks"]) == ["cpu", "build", "test"]


def test_another_extra_rebuilds(ready: Checkout, capfd: pytest.CaptureFixture[str]) -> None:
    ready.set_up("test")
    (ready.venv / "mine").touch()
    assert locks_in(ready.set_up(extra="cuda12")) == ["cuda12", "build", "test"]
    assert not (ready.venv / "mine").exists()
    assert "cuda12 downloads about 3.4 GB" in capfd.readouterr().err


def test_an_extra_stays_until_another_is_asked_for(ready: Checkout) -> None:
    ready.set_up(extra="cuda13")
    assert ready.set_up() == []
    assert ready.stamp()["extra"] == "cuda13"


def test_a_new_lock_rebuilds(ready: Checkout) -> None:
    (ready.root / "requirements" / "cpu.txt").write_text("cpu==2\n")
    assert locks_in(ready.set_up()) == ["cpu", "build"]


def test_a_new_pyproject_installs_gpucv_alone(ready: Checkout) -> None:
    (ready.root / "pyproject.toml").write_text("[project]\nname = 'gpucv'\n")
    (call,) = ready.set_up()
    assert "--editable" in call


def test_a_checkout_that_was_moved_is_set_up_anew(
    ready: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = ready.root.with_name("moved")
    monkeypatch.setattr(ready, "venv", new / ".venv")
    monkeypatch.setattr(ready, "root", ready.root.rename(new))
    assert locks_in(ready.set_up()) == ["cpu", "build"]


def spoil(venv: Path, how: str) -> None:
    packages = venv / "lib/python3.11/site-packages"
    match how:
        case "no stamp":
            (venv / "gpucv-setup.json").unlink()
        case "an unreadable stamp":
            (venv / "gpucv-setup.json").write_text('{"locks": [')
        case "a stamp of something else":
            (venv / "gpucv-setup.json").write_text("[1]")
        case "no python":
            (venv / "bin/python").unlink()
        case "a python that does not run":
            (venv / "bin/python").write_text("#!/no/such/python\n")
        case "no gpucv":
            (venv / "bin/gpucv").unlink()
        case "a package missing":
            (packages / "cpu.dist-info").rmdir()
        case "empty":
            shutil.rmtree(venv)
            venv.mkdir()
        case "a file":
            shutil.rmtree(venv)
            venv.touch()


@pytest.mark.parametrize(
    "how",
    [
        "no stamp",
        "an unreadable stamp",
        "a stamp of something else",
        "no python",
        "a python that does not run",
        "no gpucv",
        "a package missing",
        "empty",
        "a file",
    ],
)
def test_a_half_made_venv_is_made_anew(ready: Checkout, how: str) -> None:
    spoil(ready.venv, how)
    assert locks_in(ready.set_up()) == ["cpu", "build"]
    assert ready.set_up() == []


def test_a_linked_venv_is_replaced_and_what_it_points_to_kept(ready: Checkout) -> None:
    elsewhere = ready.venv.rename(ready.root.parent / "elsewhere")
    (elsewhere / "gpucv-setup.json").unlink()
    ready.venv.symlink_to(elsewhere)
    ready.set_up()
    assert not ready.venv.is_symlink()
    assert (elsewhere / "bin").is_dir()


def test_a_venv_of_uv_is_made_anew_once_uv_is_gone(checkout: Checkout) -> None:
    checkout.add("uv")
    checkout.set_up()
    (checkout.path / "uv").unlink()
    assert locks_in(checkout.set_up("lint")) == ["cpu", "build", "lint"]


def test_a_failed_install_leaves_no_stamp_and_says_what_to_do(
    ready: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", " install ")
    with pytest.raises(ready.bootstrap.SetupError, match="pip failed"):
        ready.set_up("test")
    monkeypatch.setenv("FAIL_AT", "never")
    assert locks_in(ready.set_up("test")) == ["cpu", "build", "test"]


@pytest.mark.parametrize("missing", ["-m venv", "--version"])
def test_no_venv_or_pip_and_no_uv_is_one_sentence_and_leaves_nothing(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv("FAIL_AT", missing)
    with pytest.raises(checkout.bootstrap.SetupError, match="apt install python3-venv") as caught:
        checkout.set_up()
    assert "\n" not in str(caught.value)
    assert not checkout.venv.exists()


def test_settings_that_send_packages_elsewhere_do_not_reach_the_installer(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_TARGET", "PIP_USER", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "elsewhere")
    environment = checkout.bootstrap.clean_environment()
    assert "elsewhere" not in environment.values()
    assert environment["DIARY"] == str(checkout.diary)


def test_an_old_python_can_read_the_script_and_say_what_is_needed(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    ast.parse(Path(checkout.bootstrap.__file__).read_text(), feature_version=(3, 8))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(checkout.bootstrap.SetupError, match=r"needs Python 3\.11 or newer"):
        checkout.bootstrap.newer_python()


def test_an_old_python_hands_over_to_a_newer_one_that_runs(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{checkout.path}")
    (checkout.path / "python3.13").write_text("#!/no/such/shim\n")
    (checkout.path / "python3.13").chmod(0o755)
    (checkout.path / "python3.12").symlink_to("/bin/true")
    assert checkout.bootstrap.newer_python() == [str(checkout.path / "python3.12")]
    (checkout.path / "python3.12").unlink()
    uv = checkout.add("uv")
    assert checkout.bootstrap.newer_python()[:2] == [str(uv), "run"]


def test_a_second_set_up_waits_for_the_first(checkout: Checkout) -> None:
    checkout.add("uv")
    command = [sys.executable, "scripts/bootstrap.py"]
    with (checkout.root / "pyproject.toml").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = subprocess.Popen(
            command, cwd=checkout.root, stderr=subprocess.PIPE, env=dict(os.environ), text=True
        )
        assert second.stderr
        assert "another set-up is at work" in second.stderr.readline()
        assert not checkout.venv.exists()
    with second:
        assert "is ready" in second.stderr.read()
    assert second.returncode == 0


def test_a_failure_ends_the_command_with_code_4_and_no_traceback(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", " install ")
    (checkout.root / "requirements" / "cpu.txt").unlink()
    command = [sys.executable, "scripts/bootstrap.py"]
    done = subprocess.run(command, cwd=checkout.root, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("set-up: stopped: ")
    assert "cpu.txt" in done.stderr
    assert done.stderr.count("\n") == 1
