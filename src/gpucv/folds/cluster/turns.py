"""Whose turn it is: which fold goes to which worker next.

The longest fold left goes to the worker with most room, except that some folds must be alone
on theirs: one under which a worker was lost, so that it takes no other down with it again, and
is known for the culprit if it does; and one that found too little memory. Such a fold comes
first, and the worker with the fewest folds is kept free for it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpucv.folds.cluster.seats import Cluster, Seat
    from gpucv.folds.task import FoldTask

__all__ = ["Turns"]

FRESH_SECONDS = 60
"""How long a fold waits for a worker process that has run none; then any has to do."""


class Turns:
    """Folds that wait, and where each may go.

    Parameters
    ----------
    cluster : Cluster
    tasks : sequence of FoldTask
        In the order in which they are handed out.
    """

    def __init__(self, cluster: Cluster, tasks: Sequence[FoldTask]) -> None:
        self._cluster = cluster
        self._waiting = deque(tasks)
        self._alone: deque[FoldTask] = deque()
        self._fresh_until: dict[int, float] = {}
        self._used: set[str] = set()
        self.ended: set[str] = set()
        """Processes that were told to end: none of them takes a fold, or finishes one."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._alone)

    def again(self, task: FoldTask) -> None:
        """Let a fold that is not to blame begin again, first of those that wait."""
        self._waiting.appendleft(task)

    def again_alone(self, task: FoldTask, *, fresh: bool = False) -> None:
        """Let a fold begin again with no other beside it.

        Parameters
        ----------
        task : FoldTask
        fresh : bool
            In a process that has run no fold, where one can be had.
        """
        self._alone.append(task)
        if fresh:
            self._fresh_until[task.fold_id] = 0

    def share_out(
        self, seats: Mapping[str, Seat], busy: Mapping[str, int], taken: set[str]
    ) -> Iterator[tuple[FoldTask, str, bool]]:
        """Yield folds with the worker each goes to, and whether it is to be alone there.

        Parameters
        ----------
        seats : mapping of str to Seat
            Workers by address.
        busy : mapping of str to int
            How many folds each has.
        taken : set of str
            Workers whose fold is to be alone.
        """
        seats = {at: seat for at, seat in seats.items() if seat.process not in self.ended}
        room = {
            at: seat.slots - busy.get(at, 0)
            for at, seat in seats.items()
            if seat.open and at not in taken
        }
        while self._alone and room:
            address = min(room, key=lambda at: (busy.get(at, 0), seats[at].process in self._used))
            if busy.get(address):
                del room[address]  # kept free, so that it empties
                break
            if not self._is_fresh_enough(self._alone[0], address, seats[address]):
                if seats[address].process in self.ended:
                    del room[address]
                break
            del room[address]
            self._used.add(seats[address].process)
            yield self._alone.popleft(), address, True
        while self._waiting and room and max(room.values()) > 0:
            address = max(room, key=room.__getitem__)
            room[address] -= 1
            self._used.add(seats[address].process)
            yield self._waiting.popleft(), address, False

    def _is_fresh_enough(self, task: FoldTask, address: str, seat: Seat) -> bool:
        """Say whether an idle worker will do; one that will not is started anew, once."""
        until = self._fresh_until.get(task.fold_id)
        if until is None or seat.process not in self._used or not seat.renewable:
            return True
        if until:
            return time.monotonic() > until
        self._fresh_until[task.fold_id] = time.monotonic() + FRESH_SECONDS
        self.end([address], {address: seat})
        return False

    def end(self, addresses: Sequence[str], seats: Mapping[str, Seat]) -> None:
        """End workers, with whatever runs there."""
        self.ended |= {seats[address].process for address in addresses}
        self._cluster.end(addresses)
