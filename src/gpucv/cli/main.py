"""``gpucv``: its commands, its exit codes, and how an error is shown.

Commands are imported when they are called, so that ``gpucv -h`` stays fast.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import sys
import textwrap
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gpucv._version import __version__
from gpucv.cli.interrupts import Terminated, interruptible
from gpucv.cli.visible import say, visible
from gpucv.errors import GpucvError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cyclopts import App

__all__ = ["build_app", "describe", "main", "root_help"]

_COMMANDS = {
    "init": ("init:init", "Write a commented study file to start from."),
    "validate": ("validate:validate", "Check a study and its data; train nothing."),
    "run": ("run:run", "Run a study: every fold, the tables, the findings, the page."),
    "resume": ("resume:resume", "Run the folds a run folder still lacks."),
    "tune": ("tune:tune", "Tune predictors inside every fold, and say what that gains."),
    "export": ("export:export", "Write a run's predictors as artifacts for simulators."),
    "predict": ("predict:predict", "Predict step times with an artifact."),
    "report": ("report:report", "Print a run's findings again, or those of recorded results."),
    "ls": ("ls:ls", "List runs, and say how to finish what is not finished."),
    "compare": ("compare:compare", "Set runs against a baseline; fail if they are worse."),
    "audit": ("audit:audit", "Judge whether traces are fit to learn from."),
    "features": ("features:features", "Write a study's feature table."),
    "import": ("import_:import_", "Turn another system's files into one table."),
    "synth": ("synth:synth", "Simulate the embedded study's step table, at any size."),
    "certificate": (
        "certificate:certificate",
        "Make a certificate that keeps others off a Dask cluster.",
    ),
    "bench": ("bench:bench", "Measure how many rows per second this machine trains."),
    "doctor": ("doctor:doctor", "Say what this machine has and what is wrong with it."),
    "completion": ("completion:completion", "Print what makes a shell complete gpucv's words."),
}

_QUESTION = "Does a performance model hold on configurations it has never seen?"
_CODES = (
    "Exit codes: 0 ok, 1 some folds failed, 2 usage or study, 3 data rejected,\n"
    "4 environment, 5 worse than the baseline, 130/143 interrupted with state kept."
)


def build_app() -> App:
    """Return the command-line application, its commands not yet imported."""
    from cyclopts import App

    app = App(
        name="gpucv",
        help=_QUESTION,
        help_epilogue=_CODES,
        version=__version__,
        help_format="plaintext",
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # `_run` gives it its exit code
    )
    for name, (path, told) in _COMMANDS.items():
        app.command(f"gpucv.cli.{path}", name=name, help=told)
    return app


def describe(app: App, name: str) -> None:
    """Give a command's ``-h`` what its docstring says: the text, and the examples."""
    command = app[name]
    text, _, examples = inspect.cleandoc(command.default_command.__doc__ or "").partition(
        "\n\nExamples\n--------\n"
    )
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    command.help = "\n\n".join(paragraphs)
    if examples:
        command.help_epilogue = f"Examples:\n{textwrap.indent(examples, '  ')}\n\n{_CODES}"


def root_help() -> str:
    """Return what ``gpucv -h`` prints; made without cyclopts, which takes longer to load."""
    width = max(map(len, _COMMANDS))
    lines = [f"  {name:<{width}}  {told}" for name, (_, told) in _COMMANDS.items()]
    more = "`gpucv COMMAND -h` describes a command; `gpucv --version` prints the version."
    head = ("Usage: gpucv COMMAND [OPTIONS]", "", _QUESTION, "", "Commands:")
    return "\n".join((*head, *lines, "", more, "", _CODES))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    _open_streams()
    with interruptible(), _log_told():
        code = _flush(_run(argv))
        if code in (130, 143) or _folds_under_way():
            # Folds under way hold threads that cannot be stopped; what is finished is on disk.
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


def _folds_under_way() -> bool:
    return any(thread.name.startswith("gpucv-fold") for thread in threading.enumerate())


def _open_streams() -> None:
    """Make both streams safe to print to, whatever the caller made of them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: `gpucv ... >&-`
            # Open for as long as the process lives, so no context manager.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            # A folder in an argument may hold any byte; a pipe may take only ASCII.
            stream.reconfigure(errors="backslashreplace")


class _Told(logging.Handler):
    """Prints what gpucv logs, such as a lost worker, as other lines are printed."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")


@contextlib.contextmanager
def _log_told() -> Iterator[None]:
    log, told = logging.getLogger("gpucv"), _Told()
    log.addHandler(told)
    try:
        yield
    finally:
        log.removeHandler(told)


def _flush(code: int) -> int:
    """Write out what was printed; return the exit code, another one if that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # the reader of our output has left (`gpucv ... | head -1`): nothing to report
    except OSError as error:
        code = _complain(f"cannot write to stdout: {error.strerror}", 4)
    else:
        return code
    # What the buffer still holds must not fail again when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    if words in ([], ["-h"], ["--help"]):
        print(root_help())
        return 0 if words else 2
    try:
        app = build_app()
        if words[0] in _COMMANDS and not {"-h", "--help"}.isdisjoint(words):
            describe(app, words[0])
        outcome: Any = app(words, exit_on_error=False, print_error=False)
    except BrokenPipeError:
        return 0
    except (Exception, KeyboardInterrupt) as error:
        return _complain(*_explain(error, words))
    return outcome if isinstance(outcome, int) else 0


def _explain(error: BaseException, words: Sequence[str]) -> tuple[str, int]:
    """Return what to tell about an error, and the exit code."""
    from cyclopts import CycloptsError

    if isinstance(error, GpucvError):
        return str(error), error.exit_code
    if isinstance(error, CycloptsError):
        return f"{' '.join(str(error).split())} (see: gpucv {_command(words)}-h)", 2
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; finished folds are kept", 143 if isinstance(error, Terminated) else 130
    if isinstance(error, MemoryError):
        return "out of memory; use fewer rows or fewer workers", 4
    if isinstance(error, OSError):
        where = error.filename or "the output"
        return f"cannot read or write {where}: {error.strerror or error}", 4
    told = f"{type(error).__name__}: {error}"
    return f"a fault of gpucv itself: {told} (GPUCV_DEBUG=1 shows where)", 1


def _complain(message: str, code: int) -> int:
    """Print one error to stderr, with its traceback where that was asked for."""
    with contextlib.suppress(OSError):
        if os.environ.get("GPUCV_DEBUG") == "1":
            traceback.print_exc()
        print(f"gpucv: error: {visible(message)}", file=sys.stderr, flush=True)
    return code


def _command(words: Sequence[str]) -> str:
    return f"{words[0]} " if words and words[0] in _COMMANDS else ""
