"""Signals that ask a command to end: the first lets it keep its state, the second ends it at once.

Ctrl-C sends SIGINT. Batch systems send SIGTERM, or whatever their user chose to be warned by
(SLURM's ``--signal=USR1@120``); a terminal that is closed sends SIGHUP.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Terminated", "interruptible"]

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FIRST = b"\ngpucv: interrupted; keeping what is finished (once more to leave at once)\n"


class Terminated(KeyboardInterrupt):
    """Any of these signals but SIGINT: treated as an interrupt, with its own exit code."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` or `Terminated` for the first signal, leave at the second.

    A signal that whoever started this process had ignored (``nohup``, ``&``) stays ignored.
    Exit codes are 130 for SIGINT and 143 for the others.
    """
    asked = False

    def end(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            os._exit(130 if number == signal.SIGINT else 143)
        asked = True
        with contextlib.suppress(OSError):
            os.write(2, _FIRST)  # print might be what was interrupted
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {number: signal.getsignal(number) for number in _ASKING}
    heard = [number for number, how in before.items() if how not in (signal.SIG_IGN, None)]
    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
