"""The command as batch systems, pipes and containers run it."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv
from gpucv.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from gpucv.cli.main import main; main()"]
SHELL = f"{shlex.quote(sys.executable)} -c 'from gpucv.cli.main import main; main()'"
BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def folder(study: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with blanks and letters beyond ASCII in its name, and a study in it."""
    folder = tmp_path / "mémoire de thèse"
    folder.mkdir()
    (folder / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    return folder


@pytest.fixture
def run(folder: Path) -> Callable[..., Done]:
    """Run the study as a process of its own."""

    def call(*words: str, files: int = 0, under: tuple[str, ...] = (), **env: str) -> Done:
        def limit() -> None:
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        return subprocess.run(
            [*under, *COMMAND, "run", "study.toml", "--out", "a run", *words],
            cwd=folder,
            env=env or dict(os.environ),
            preexec_fn=limit,
            capture_output=True,
            check=False,
            timeout=120,
            text=True,
            encoding="utf-8",
        )

    return call


def assert_quietly_done(done: Done, folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert len(gpucv.Result.load(folder / "a run").folds) == 4


@pytest.mark.fault(44)
def test_a_run_needs_no_home_no_locale_and_few_files(
    run: Callable[..., Done], folder: Path
) -> None:
    done = run(files=64, **BARE)
    assert_quietly_done(done, folder)
    assert done.stdout.isascii()


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    "env",
    [
        {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"},
        {"HOME": "/dev/null", "TMPDIR": "/dev/null", "LANG": "C"},
        {"LC_ALL": "no_SUCH.locale", "TERM": "dumb", "COLUMNS": "0"},
    ],
    ids=["nothing there", "no folders", "no such locale"],
)
def test_a_run_needs_no_home_no_temporary_folder_and_no_terminal(
    env: dict[str, str], run: Callable[..., Done], folder: Path
) -> None:
    assert_quietly_done(run(**env), folder)


@pytest.mark.fault(44)
def test_worker_processes_without_files_enough_are_refused_and_not_waited_for(
    run: Callable[..., Done],
) -> None:
    done = run("--set", "execution.backend=dask", "--set", "execution.workers=2", files=40)
    assert done.returncode == 4
    *_, last = done.stderr.splitlines()
    assert last.startswith("gpucv: error: cannot start 2 Dask workers here: they take some 64 open")
    assert "40 are allowed; raise that (ulimit -n 1024), or use execution.backend" in last


@pytest.mark.fault(44)
def test_worker_processes_start_with_64_files_a_bare_environment_and_port_8787_taken(
    run: Callable[..., Done], folder: Path
) -> None:
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        except OSError:
            pass  # somebody has it already, which is the case
        done = run(
            *("--set", "execution.backend=dask", "--set", "execution.workers=2"),
            files=64,
            LC_ALL="C",
        )
    assert_quietly_done(done, folder)


@pytest.mark.fault(44)
@pytest.mark.parametrize("backend", ["threads", "dask"])
def test_a_folder_whose_name_is_no_text_is_refused(
    backend: str, folder: Path, run: Callable[..., Done]
) -> None:
    words = ("--set", f"execution.backend={backend}", "--out", os.fsdecode(b"run \xff"))
    done = subprocess.run(
        [*COMMAND, "run", "study.toml", *words],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
        text=True,
    )
    assert done.returncode == 4
    assert "its path is no text in UTF-8; choose another --out" in done.stderr
    assert done.stderr.count("\n") == 1
    if backend == "dask":  # and where it is the folder the run folder lies in
        done = run("--set", "execution.backend=dask", **BARE)
        assert done.returncode == 4
        assert "its path is no text in UTF-8" in done.stderr.splitlines()[-1]


@pytest.mark.fault(44)
def test_shared_memory_too_small_for_semaphores_is_told(run: Callable[..., Done]) -> None:
    apart = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4k none /dev/shm && exec "$@"')
    if subprocess.run([*apart, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount another /dev/shm")
    done = run("--set", "execution.backend=dask", under=(*apart, "sh"))
    assert done.returncode == 4
    assert "/dev/shm has 4,096 bytes free" in done.stderr.splitlines()[-1]


@pytest.mark.fault(44)
def test_a_run_needs_no_shared_memory(run: Callable[..., Done], folder: Path) -> None:
    apart = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4k none /dev/shm && exec "$@"')
    if subprocess.run([*apart, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount another /dev/shm")
    assert_quietly_done(run(under=(*apart, "sh")), folder)


@pytest.mark.fault(44)
def test_a_read_only_folder_is_no_place_for_a_run_and_good_enough_to_look_from(
    folder: Path, run: Callable[..., Done]
) -> None:
    apart = (
        *("unshare", "-m", "sh", "-c"),
        'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"',
    )
    if subprocess.run([*apart, "sh", "true"], cwd=folder, check=False).returncode:
        pytest.skip("this user cannot mount a folder read-only")
    refused = run(under=(*apart, "sh"))
    assert refused.returncode == 4
    assert "is not a writable folder; choose another --out" in refused.stderr
    assert refused.stderr.count("\n") == 1
    looked = subprocess.run(
        [*apart, "sh", *COMMAND, "validate", "study.toml"],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert looked.returncode == 0, looked.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["study.toml"]


@pytest.mark.fault(44)
@pytest.mark.parametrize("path", ["~/x.csv", "~nosuchuser/x.csv"])
def test_a_home_nobody_knows_is_told_as_a_missing_file(
    path: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(
        "os.getuid", lambda: 4_000_000_000
    )  # as containers run: in no list of users
    for words, code in ((["audit", path], 2), (["doctor"], None)):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert code is None or ended.value.code == code
        assert "RuntimeError" not in capfd.readouterr().err


@pytest.mark.fault(44)
def test_a_folder_that_was_removed_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {shlex.quote(str(gone))} && rmdir ../gone && {SHELL} doctor"
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, check=False, text=True, timeout=60
    )
    assert done.returncode == 4
    assert "the current folder was removed" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, few_steps: Any) -> Path:
    """A folder of many runs, so that a list of them is longer than a pipe holds."""
    folder = tmp_path_factory.mktemp("finished")
    few_steps.to_parquet(folder / "steps.parquet")
    study = {
        "data": {"steps": [str(folder / "steps.parquet")], "audit": "off"},
        "predictors": [{"name": "constant"}],
        "execution": {"workers": 1, "device": "cpu"},
    }
    gpucv.run(study, out=folder / "0000")
    for number in range(1, 40):
        shutil.copytree(folder / "0000", folder / f"{number:04d}")
    return folder


@pytest.mark.fault(45)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["in blocks", "line by line"])
@pytest.mark.parametrize(
    "words", ["ls .", "ls . --json", "report 0000", "report 0000 --json", "audit steps.parquet"]
)
def test_a_reader_who_takes_one_line_ends_a_command_quietly(
    words: str, unbuffered: str, finished: Path
) -> None:
    script = f"set -o pipefail; {SHELL} {words} -q | head -1"
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        cwd=finished,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) in ((0, ""), (3, "")), done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.fault(45)
def test_a_reader_who_leaves_early_ends_a_command_quietly() -> None:
    ours, theirs = os.pipe()
    process = subprocess.Popen([*COMMAND, "doctor"], stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    os.close(ours)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


@pytest.mark.fault(45)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "line by line"])
def test_output_that_cannot_be_written_is_code_4(unbuffered: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, no path of ours
        done = subprocess.run(
            [*COMMAND, "doctor"],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert done.returncode == 4
    assert done.stderr.startswith("gpucv: error: cannot ")
    assert done.stderr.endswith("No space left on device\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.fault(45)
def test_closed_streams_are_no_fault() -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        script = f'exec "$0" "$@" {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, *COMMAND, "doctor", "--json"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
        assert b"Traceback" not in done.stdout + done.stderr
