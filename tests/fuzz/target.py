"""What a fuzzing target is, and the one property all of them are held to."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.fuzz.damage import damaged

from gpucv.errors import GpucvError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import NoReturn

__all__ = ["HANG_SECONDS", "Target", "explore", "meet"]

HANG_SECONDS = 60
"""Reading a file of a few kilobytes takes milliseconds; this only ends a hang."""
_LONGEST = 4_000
"""Characters of a message: several faults may be listed, the file may not."""


@dataclass(frozen=True)
class Target:
    """A reader, and what it reads when all is well.

    Attributes
    ----------
    name : str
    seeds : tuple of bytes
        Small valid files.
    read : callable
        Put a file's content where the reader looks for it, and read it as a command does.
    codes : tuple of int
        The exit codes a refusal may have.
    cost : int
        How many times as long as the fastest one takes to read.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes], None]
    codes: tuple[int, ...] = (2, 3, 4)
    cost: int = 1


def meet(target: Target, content: bytes) -> bool:
    """Return whether the content was read; a refusal must be one line and have its code.

    Raises
    ------
    AssertionError
        If the refusal is no line for a user.
    Exception
        Whatever the reader let through: a fault of gpucv.
    """
    try:
        with _ended(HANG_SECONDS):
            target.read(content)
    except GpucvError as error:
        refusal = error
    else:
        return True
    told = str(refusal)
    assert refusal.exit_code in target.codes, f"exit code {refusal.exit_code}: {told!a}"
    assert told.strip(), "a refusal without a word"
    assert len(told.splitlines()) == 1, f"more than a line: {told!a}"
    assert len(told) <= _LONGEST, f"{len(told)} characters: {told[:300]!a}"
    return False


def explore(target: Target, examples: int, *, stable: bool) -> None:
    """Read damaged seeds; the same ones every time where that is asked for."""

    @settings(
        max_examples=max(examples // target.cost, 2),
        derandomize=stable,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def hold(draw: random.Random) -> None:
        content = damaged(draw.choice(target.seeds), draw)
        note(f"{target.name} read {content[:1000]!r}")
        meet(target, content)

    hold()


@contextmanager
def _ended(seconds: int) -> Iterator[None]:
    """Raise where a reader hangs; Python's own loops, not those of a library."""

    def raise_it(signum: int, frame: FrameType | None) -> NoReturn:
        msg = f"still reading after {seconds} s"
        raise TimeoutError(msg)

    before = signal.signal(signal.SIGALRM, raise_it)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
