"""Matrices binned block by block: kept whole, or paged in while trees grow.

External memory as XGBoost 3.2 has it (``doc/tutorials/external_memory.rst``, experimental):
only X is paged. Labels, gradients and row positions, about 44 bytes a row, stay in memory,
so paging pays for wide rows, not for many narrow ones. On a CPU pages lie in files of a
temporary folder and are mapped; on a GPU they lie in host memory and cross the bus several
times a tree. The bins come from a sketch made block by block, so predictions may differ in
their last digits from those of a matrix built at once; with one block they do not.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.frames import to_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from gpucv.machine import Device
    from gpucv.predictors.base import FitContext
    from gpucv.predictors.blocks import RowBlocks

__all__ = ["MatrixOf", "in_blocks", "must_suit_pages", "paging", "streamed_matrix"]


class MatrixOf(Protocol):
    """Makes a matrix for `xgboost.train` from blocks of rows."""

    def __call__(self, blocks: RowBlocks, label: NDArray[np.float32], ref: Any = None) -> Any:
        """Return the matrix of `blocks`; with `ref`, binned as that one is."""


def must_suit_pages(training: Mapping[str, Any]) -> None:
    """Refuse parameters under which paging has no sense.

    Parameters
    ----------
    training : mapping
        Parameters of ``xgboost.train``.

    Raises
    ------
    StudyError
        If trees grow leaf by leaf: every leaf would read every page, where a whole level
        reads them once ("Best Practices" of XGBoost's page on external memory).
    """
    if training.get("grow_policy", "depthwise") != "depthwise":
        msg = (
            f"training 'external-memory' reads every page once a leaf with grow_policy "
            f"{training['grow_policy']!r}; use grow_policy 'depthwise', or training 'in-memory'"
        )
        raise StudyError(msg)


@contextlib.contextmanager
def paging(training: Mapping[str, Any], context: FitContext) -> Iterator[MatrixOf]:
    """Yield what makes paged matrices; their pages are gone when the context ends.

    Train inside it, in the thread that entered it: XGBoost's configuration belongs to the
    thread, and the matrices to the context.

    Parameters
    ----------
    training : mapping
        Parameters of ``xgboost.train``, `max_bin` among them.
    context : FitContext

    Raises
    ------
    StudyError
        As `must_suit_pages`.
    EnvironmentFaultError
        If there is nowhere to put pages, or the device is a GPU and CuPy is missing.
    """
    must_suit_pages(training)
    made: list[Any] = []
    with _page_folder(context.device) as folder, _pool(context.device):
        import xgboost

        where: dict[str, Any] = {"on_host": True} if folder is None else {"cache_prefix": folder}

        def matrix_of(blocks: RowBlocks, label: NDArray[np.float32], ref: Any = None) -> Any:
            matrix = xgboost.ExtMemQuantileDMatrix(
                _rows_of(blocks, label, context.device, where),
                nthread=context.threads,
                max_bin=training["max_bin"],
                ref=ref,
            )
            made.append(matrix)
            return matrix

        try:
            yield matrix_of
        finally:
            # XGBoost removes a page file with its matrix, and a traceback may hold that longer.
            for matrix in reversed(made):
                matrix.__del__()


def streamed_matrix(
    blocks: RowBlocks,
    label: NDArray[np.float32] | None,
    max_bin: int,
    context: FitContext,
    ref: Any = None,
) -> Any:
    """Return a `QuantileDMatrix` in memory, whose rows were never all there unbinned.

    For folds of many rows on a GPU and parts of a distributed one: the GPU then holds 1 byte a
    bin instead of 5, and what is sketched at once does not follow from the memory free.
    """
    import xgboost

    return xgboost.QuantileDMatrix(
        _rows_of(blocks, label, context.device, {}),
        nthread=context.threads,
        max_bin=max_bin,
        ref=ref,
    )


def in_blocks(
    predict: Callable[[Any], Any], blocks: RowBlocks, device: Device = "cpu"
) -> NDArray[np.float64]:
    """Return what `predict` says of each row, shape (n,), asked block by block on `device`."""
    on_device = _upload() if device == "cuda" else None
    predicted = np.empty(len(blocks))
    for place, X in blocks.blocks():
        predicted[place] = to_host(predict(on_device(X) if on_device else X))
    return predicted


def _rows_of(
    blocks: RowBlocks, label: NDArray[np.float32] | None, device: Device, where: Mapping[str, Any]
) -> Any:
    """Return XGBoost's iterator over blocks and their labels."""
    import xgboost

    on_device = _upload() if device == "cuda" else None

    class Rows(xgboost.DataIter):
        """Blocks in order, from the start after each reset."""

        def __init__(self) -> None:
            self._left: Iterator[tuple[slice, Any]] = iter(())
            super().__init__(**where)

        def reset(self) -> None:
            self._left = blocks.blocks() if len(blocks) else iter((_nothing(blocks),))

        def next(self, input_data: Callable[..., None]) -> bool:
            found = next(self._left, None)
            if found is None:
                return False
            place, X = found
            given = {} if label is None else {"label": label[place]}
            input_data(data=on_device(X) if on_device else X, **given)
            return True

    return Rows()


def _nothing(blocks: RowBlocks) -> tuple[slice, NDArray[np.float32]]:
    """Return the block of a part without rows, which XGBoost must be handed all the same."""
    return slice(0, 0), np.empty((0, blocks.shape[1]), dtype=np.float32)


def _upload() -> Callable[[Any], Any]:
    """Return what copies a block to the GPU, where its iterator must hand it over."""
    from gpucv.frames import gpu

    if not gpu.available():
        msg = "blocks of rows on a GPU need CuPy, which does not load here; see gpucv doctor"
        raise EnvironmentFaultError(msg)
    return gpu.to_device


@contextlib.contextmanager
def _page_folder(device: Device) -> Iterator[str | None]:
    """Yield a folder for pages, removed at the end; None for a GPU, whose pages are in memory."""
    if device == "cuda":
        yield None
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="gpucv-pages-")
    except OSError as error:
        msg = f"nowhere to put pages of external memory: {error}; set TMPDIR to a local disk"
        raise EnvironmentFaultError(msg) from error
    with folder as name:
        yield name


def _pool(device: Device) -> Any:
    """Return a context in which XGBoost allocates from an asynchronous pool, on a GPU.

    Paging without one allocates and frees at the speed of the driver, and XGBoost warns. Its
    wheels come without RMM and bring a pool of their own; a build with RMM refuses that one
    and takes RMM's current resource (``src/c_api/c_api.cc``, ``src/common/hist_util.cu``).
    """
    if device != "cuda":
        return contextlib.nullcontext()
    import xgboost

    pool = "use_rmm" if xgboost.build_info()["USE_RMM"] else "use_cuda_async_pool"
    if pool not in xgboost.get_config():
        msg = f"external memory on a GPU needs XGBoost 3.2, and this is {xgboost.__version__}"
        raise EnvironmentFaultError(msg)
    return xgboost.config_context(**{pool: True})
