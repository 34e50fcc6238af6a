"""One thread for linear algebra while folds run.

A sum shared out among threads is added up in another order, so its last bits depend on how
many there are: on the cores of a machine, and on whether folds run in threads of one
process or in processes of their own. XGBoost's threads are left alone: they change no bit.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["limit_blas", "one_blas_thread"]


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS libraries of this process to one thread, then give back what they had.

    The limit mostly belongs to the process: enter once around all folds, not once per fold,
    or the first fold to end would lift it for those that still run.
    """
    with limit_blas():
        yield


def limit_blas() -> Any:
    """Hold the BLAS libraries to one thread from here on; harmless where they already are.

    Where a BLAS runs on OpenMP the limit belongs to the thread that sets it, so threads that
    run folds call this as well.
    """
    # SciPy brings a BLAS of its own, and only a library already loaded can be limited.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")
