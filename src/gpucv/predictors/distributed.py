"""One booster trained by several processes, each on its own part of the rows.

XGBoost's collective: while a thread is joined to a group, every matrix it builds is sketched
and every tree it grows summed over all parts, and each process ends with the same booster.
So whatever fits a predictor to rows needs no word about it; it only runs joined.

What to know of it, in XGBoost 3.2:

- Every process must make the same matrices and rounds in the same order, or all wait.
- The parts decide the bins, the order of sums and, with ``subsample`` below 1, which rows a tree
  sees, as each part draws its own: the same parts give the same bits, another number of parts
  other trees. One part is plain training.
- The tracker and every process listen on ports the system picks, processes on all addresses
  (``src/collective/comm.cc``, `RabitComm::Bootstrap`), without encryption or password: only for
  networks whose members are trusted, and whose firewall lets them connect to each other.
- A process that ends breaks the connections of the others, which raise `XGBoostError` at
  once. On GPUs the sums are NCCL's, which need not notice; not yet run on a GPU.
- NCCL refuses two processes on one GPU, and parts of a GPU (MIG) are not supported by it
  (NVIDIA, "NCCL and MIG").
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["WHOLE", "Share", "close_tracker", "open_tracker"]

_PATIENCE_S = 600
"""How long one process waits for another, to join or with its sums: 300 is XGBoost's own, and
reading a big table takes that long."""

_trackers: dict[int, Any] = {}
"""Trackers open in this process, by port."""


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of a booster that several train together.

    Attributes
    ----------
    part, parts : int
        Which part of the rows, of how many. Part 0 speaks for all.
    host, port : str, int
        Of the tracker, where all meet; unused where there is one part.
    """

    part: int
    parts: int
    host: str = ""
    port: int = 0

    def of(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return this part of `rows`: one stretch, as long as the others up to one row.

        Of fewer rows than parts the first has one, and some have none.
        """
        first, after = (-(-len(rows) * at // self.parts) for at in (self.part, self.part + 1))
        return rows[first:after]

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Train together with the other parts: all that this thread trains in here.

        Raises
        ------
        xgboost.core.XGBoostError
            If the others do not come, or one of them is lost.
        """
        if self.parts == 1:
            yield
            return
        import xgboost
        from xgboost.collective import CommunicatorContext

        meeting = CommunicatorContext(
            dmlc_tracker_uri=self.host,
            dmlc_tracker_port=self.port,
            # The tracker ranks by this text.
            dmlc_task_id=f"{self.part:06d}",
            dmlc_timeout=_PATIENCE_S,
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(xgboost.config_context(verbosity=0))
            # It prints its rank whatever its verbosity, and results go to standard output.
            with _silent:
                stack.enter_context(meeting)
            yield


class _Silence:
    """Nothing on standard output while any thread of this process is in here.

    It belongs to the process: of two threads that each put back what they found, one would
    put back the other's silence, for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._output = sys.stdout

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._output, sys.stdout = sys.stdout, io.StringIO()
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.stdout = self._output


_silent = _Silence()

WHOLE = Share(0, 1)
"""All rows, trained on in one process."""


def open_tracker(parts: int, host: str) -> int:
    """Open a place for `parts` processes to meet, in this one; return its port.

    Parameters
    ----------
    parts : int
    host : str
        An address of this machine that the others reach.

    Raises
    ------
    EnvironmentFaultError
        If nothing can listen there.
    """
    from xgboost.core import XGBoostError
    from xgboost.tracker import RabitTracker

    try:
        tracker = RabitTracker(parts, host, sortby="task", timeout=_PATIENCE_S)
        tracker.start()
        port = int(tracker.worker_args()["dmlc_tracker_port"])
    except (XGBoostError, OSError) as error:
        told = next((line for line in str(error).splitlines() if line.startswith("- ")), str(error))
        msg = f"XGBoost's tracker cannot listen on {host} ({told}); processes must meet there"
        raise EnvironmentFaultError(msg) from error
    _trackers[port] = tracker
    return port


def close_tracker(port: int) -> None:
    """Close the tracker at `port` of this process, if it is there; whoever waits for it fails."""
    from xgboost.core import XGBoostError

    tracker = _trackers.pop(port, None)
    if tracker is not None:
        # It complains of being closed before all have left.
        with contextlib.suppress(XGBoostError):
            tracker.free()
