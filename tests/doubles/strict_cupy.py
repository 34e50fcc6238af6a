"""CuPy as far as gpucv uses it, in host memory, and as strict as CuPy about what crosses.

Written after cupy/_core/core.pyx and _routines_indexing.pyx of CuPy 14: no implicit way to the
host, no NumPy array beside its own in an operation or an assignment, 0-d arrays where
NumPy has scalars, no `initial` in a maximum. Stricter than CuPy in one thing: it does not
iterate. Every array that crosses is written down in `crossings`.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Crossing(NamedTuple):
    way: str  # "up", "down" or, of row numbers NumPy still holds, "index"
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


crossings: list[Crossing] = []
_lock = threading.Lock()
_COMPARISONS = {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal"}


def _note(way: str, array: np.ndarray) -> None:
    with _lock:
        crossings.append(Crossing(way, array.shape, array.dtype))


class ndarray(NDArrayOperatorsMixin):  # noqa: N801
    """An array "on the device"; `bare` is what lies there, for doubles of other libraries."""

    def __init__(self, bare: Any) -> None:
        self.bare = np.asarray(bare)
        self.shape, self.dtype = self.bare.shape, self.bare.dtype
        self.ndim, self.size, self.nbytes = self.bare.ndim, self.bare.size, self.bare.nbytes
        self.flags = self.bare.flags

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise AssertionError("only a GPU can follow this pointer")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        assert method == "__call__", f"{ufunc.__name__}.{method} is not offered by this double"
        assert not kwargs, "not offered by this double"
        if ufunc.__name__ in _COMPARISONS:
            inputs = tuple(
                x.item() if isinstance(x, np.ndarray) and not x.ndim else x for x in inputs
            )
        return _call(ufunc, *inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        del types
        return getattr(sys.modules["cupy"], func.__name__)(*args, **kwargs)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Any:
        raise TypeError("iteration copies to the host element by element")

    def __float__(self) -> float:
        return float(self.bare.item())

    def __int__(self) -> int:
        return int(self.bare.item())

    def __bool__(self) -> bool:
        return bool(self.bare)

    def __getitem__(self, which: Any) -> ndarray:
        return _wrapped(self.bare[_index(which)])

    def __setitem__(self, which: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self.bare[_index(which)] = _bare(value)

    def get(self) -> np.ndarray:
        _note("down", self.bare)
        return self.bare.copy()

    def copy(self, order: str = "C") -> ndarray:
        return ndarray(self.bare.copy(order))  # type: ignore[call-overload]

    def view(self, dtype: Any = None) -> ndarray:
        return ndarray(self.bare.view(dtype))

    def astype(self, dtype: Any, copy: bool = True) -> ndarray:
        with np.errstate(all="ignore"):
            return ndarray(self.bare.astype(dtype, copy=copy))

    def reshape(self, *shape: int) -> ndarray:
        return ndarray(self.bare.reshape(*shape))

    def take(self, indices: Any, axis: int | None = None) -> ndarray:
        return ndarray(self.bare.take(_index(indices), axis=axis))

    def sum(self, axis: int | None = None, dtype: Any = None) -> ndarray:
        return _call(np.sum, self, axis=axis, dtype=dtype)

    def mean(self, axis: int | None = None) -> ndarray:
        return _call(np.mean, self, axis=axis)

    def max(self, axis: int | None = None) -> ndarray:
        return _call(np.max, self, axis=axis)

    def min(self, axis: int | None = None) -> ndarray:
        return _call(np.min, self, axis=axis)

    def any(self, axis: int | None = None) -> ndarray:
        return _call(np.any, self, axis=axis)

    def all(self, axis: int | None = None) -> ndarray:
        return _call(np.all, self, axis=axis)


ndarray.__module__ = "cupy"


def _index(which: Any) -> Any:
    """Row numbers and masks of either kind: CuPy moves NumPy's by itself."""
    if isinstance(which, tuple):
        return tuple(_index(each) for each in which)
    if isinstance(which, np.ndarray) and which.ndim:
        _note("index", which)
    return which.bare if isinstance(which, ndarray) else which


def _bare(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value.bare if isinstance(value, ndarray) else value


def _wrapped(value: Any) -> Any:
    return ndarray(value) if isinstance(value, np.ndarray | np.generic) else value


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    named = {name: _bare(value) for name, value in kwargs.items()}
    with np.errstate(all="ignore"):  # a GPU does not warn
        return _wrapped(function(*map(_bare, args), **named))


def asarray(a: Any, dtype: Any = None, order: Any = None) -> ndarray:
    if isinstance(a, ndarray):
        return a if dtype in (None, a.dtype) else a.astype(dtype)
    bare = np.array(a, dtype=dtype, order=order or "C")
    _note("up", bare)
    return ndarray(bare)


def clip(a: Any, a_min: Any, a_max: Any) -> ndarray:
    return _call(np.clip, a, a_min, a_max)


def quantile(a: Any, q: Any) -> ndarray:
    return _call(np.quantile, a, q)


class _Pool:
    def free_bytes(self) -> int:
        return 2**30

    def free_all_blocks(self) -> None:
        crossings.append(Crossing("freed", (), np.dtype(bool)))


def module() -> ModuleType:
    """A module to stand for ``cupy``; it knows the functions named here and no others."""
    made = ModuleType("cupy")
    plain = (
        *("where", "isnan", "isfinite", "isinf", "maximum", "minimum", "log", "exp", "sqrt"),
        *("sign", "ceil", "absolute", "abs", "full", "empty", "zeros"),
    )
    for name in plain:
        setattr(made, name, _offered(getattr(np, name)))
    for each in (asarray, clip, quantile, ndarray):
        setattr(made, each.__name__, each)
    runtime = SimpleNamespace(
        getDeviceCount=lambda: 1,
        deviceSynchronize=lambda: None,
    )
    made.cuda = SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    pool = _Pool()
    made.get_default_memory_pool = lambda: pool  # type: ignore[attr-defined]
    return made


def _offered(function: Any) -> Any:
    return lambda *args, **kwargs: _call(function, *args, **kwargs)
