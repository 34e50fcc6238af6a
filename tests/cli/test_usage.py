from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("runn",), 'Did you mean "run"'),
        (("run",), "gpucv run -h"),
        (("run", "study.toml", "--devise", "cpu"), "gpucv run -h"),
        (("run", "study.toml", "--device", "gpu"), "'cuda' or 'cuda:<number>', found 'gpu'"),
        (("run", "study.toml", "--limit", "few"), "--limit"),
        (("run", "study.toml", "--limit", "0"), "at least 1 step"),
        (("validate", "study.toml", "--limit", "-3"), "at least 1 step"),
        (("features", "study.toml", "--out", "f.parquet", "--limit", "0"), "at least 1 step"),
        (("features", "study.toml"), "--out"),
        (("run", "study.toml", "--set", "seed"), "key.path=value"),
        (("run", "study.toml", "--set", "seeed=1"), "did you mean 'seed'"),
        (("run", "study.toml", "--set", "predictors.7.name=x"), "not one of the 1 entries"),
        (("run", "absent.toml"), "No such file or directory"),
        (("run", "."), "Is a directory"),
        (("doctor", "please"), "gpucv doctor -h"),
        (("resume", "--retry"), "gpucv resume -h"),
        (("init", "study.toml"), "use --force"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    words: tuple[str, ...], hint: str, gpucv: Command, study: Path
) -> None:
    assert study.exists()
    outcome = gpucv(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("gpucv: error: ")
    assert outcome.err.count("\n") == 1
    assert hint in outcome.err


def test_control_characters_in_an_argument_do_not_reach_the_terminal(gpucv: Command) -> None:
    outcome = gpucv("run", "\x1b]0;owned\x07.toml\n\u202egpj")
    assert outcome.code == 2
    assert outcome.err.isascii()
    assert outcome.err[:-1].isprintable()


def test_a_fault_of_gpucv_is_one_line_too(
    gpucv: Command, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr("gpucv.workflow.prepare", break_down)
    outcome = gpucv("validate", study)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "gpucv: error: a fault of gpucv itself: KeyError: 'no such thing' "
        "(GPUCV_DEBUG=1 shows where)\n"
    )
    monkeypatch.setenv("GPUCV_DEBUG", "1")
    shown = gpucv("validate", study).err
    assert "Traceback" in shown
    assert "break_down" in shown


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory"),
        (PermissionError(13, "Permission denied", "x.parquet"), "x.parquet: Permission denied"),
    ],
)
def test_a_fault_of_the_machine_is_code_4(
    error: Exception,
    message: str,
    gpucv: Command,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("gpucv.workflow.prepare", refuse)
    outcome = gpucv("validate", study)
    assert outcome.code == 4
    assert message in outcome.err


def test_overrides_repeat_and_the_options_own_name_wins(gpucv: Command, study: Path) -> None:
    outcome = gpucv(
        *("run", study, "--out", "run", "--set", "seed=7", "--set", "execution.device=cuda"),
        *("--set", "predictors.0.params.n_estimators=3", "--device", "cpu", "-q"),
    )
    assert outcome.code == 0, outcome.err
    written = (study.parent / "run" / "study.toml").read_text(encoding="utf-8")
    assert "seed = 7" in written
    assert "n_estimators = 3" in written
    assert 'device = "cpu"' in written
