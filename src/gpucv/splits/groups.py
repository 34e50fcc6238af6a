"""Groups of rows, and leaving some of them out.

A splitter knows row counts and groups, nothing else. `LeaveGroupsOut` follows
scikit-learn's splitter interface (``split(X, y, groups)``, ``get_n_splits``) and
yields the groups in sorted order, so that a plan is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pandas as pd

from gpucv.errors import SplitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["GroupLabels", "LeaveGroupsOut", "Split", "combine"]

_MOST_FOLDS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class GroupLabels:
    """A text label for every row, kept as a small code.

    Attributes
    ----------
    codes : ndarray of int32, shape (n_rows,)
        Index into `names`.
    names : tuple of str
        The distinct labels, sorted; empty where rows are only told apart (shapes).
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def from_values(cls, values: ArrayLike) -> Self:
        """Code `values` (read as text), the labels sorted.

        Raises
        ------
        SplitError
            If a value is missing: such a row belongs to no group.
        """
        column: pd.Series[Any] = pd.Series(cast("Any", values))
        codes, found = pd.factorize(column)
        if len(codes) and codes.min() < 0:
            where = "" if column.name is None else f" in column {column.name!r}"
            absent = int((codes < 0).sum())
            msg = f"{absent:,} rows have no group{where}; drop them or name their group"
            raise SplitError(msg)
        texts = [str(value) for value in found]
        names = sorted(set(texts))
        place = {name: position for position, name in enumerate(names)}
        renumber = np.array([place[text] for text in texts], dtype=np.int32)
        return cls(renumber[codes], tuple(names))

    def rows_by_group(self) -> list[NDArray[np.intp]]:
        """Return the rows of every group in the order of `names`, each ascending."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.names)))
        return np.split(order, ends[:-1])

    def rows_of(self, wanted: Sequence[int]) -> NDArray[np.bool_]:
        """Return the mask of rows whose code is in `wanted`."""
        chosen = np.zeros(len(self.names), dtype=bool)
        chosen[list(wanted)] = True
        return chosen[self.codes]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The rows of one fold: ascending row numbers, disjoint unless `in_sample`.

    Attributes
    ----------
    holdout : str
        What is left out, as shown in tables.
    train, test : ndarray of intp
        Row numbers; `train` includes the rows later used for validation.
    n_left_out : int
        Rows in neither, because they share a shape with a row of `test`.
    valid : ndarray of intp or None
        The rows of `train` that validate, where the scheme itself says which.
    in_sample : bool
        Whether `test` is `train`, on purpose: the one split that is not disjoint.
    """

    holdout: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]
    n_left_out: int = 0
    valid: NDArray[np.intp] | None = None
    in_sample: bool = False


def combine(columns: Sequence[GroupLabels]) -> GroupLabels:
    """Return the groups made by every combination of `columns` that occurs.

    They stand in the order of the first column's labels, then the second's.
    """
    combined = columns[0]
    for column in columns[1:]:
        width = len(column.names)
        pairs = combined.codes.astype(np.int64) * width + column.codes
        seen, codes = np.unique(pairs, return_inverse=True)
        names = _distinct(
            [f"{combined.names[p // width]} x {column.names[p % width]}" for p in seen]
        )
        combined = GroupLabels(codes.astype(np.int32), names)
    return combined


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Tell equal names apart by number: ("a x b", "c") and ("a", "b x c") are two groups."""
    times: dict[str, int] = {}
    told = []
    for name in names:
        times[name] = times.get(name, 0) + 1
        told.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return tuple(told)


class LeaveGroupsOut:
    """Hold out every set of `p` groups in turn.

    Parameters
    ----------
    p : int
        Groups held out together; 1 is leave-one-group-out.

    Examples
    --------
    >>> splitter = LeaveGroupsOut()
    >>> [list(test) for _, test in splitter.split([0, 0, 0], groups=["a", "b", "a"])]
    [[np.int64(0), np.int64(2)], [np.int64(1)]]
    """

    def __init__(self, p: int = 1) -> None:
        self.p = p

    def get_n_splits(self, X: Any = None, y: Any = None, groups: ArrayLike | None = None) -> int:
        """Return the number of folds for these `groups`."""
        return comb(len(self._labels(groups).names), self.p)

    def split(
        self,
        X: Any,
        y: Any = None,
        groups: ArrayLike | None = None,
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield (train, test) row numbers, groups in sorted order."""
        for split in self.splits(self._labels(groups)):
            yield split.train, split.test

    def split_at(self, labels: GroupLabels, index: int) -> Split:
        """Return fold number `index` without making the others."""
        self._check(labels)
        return self._leave_out(labels, _combination_at(len(labels.names), self.p, index))

    def splits(self, labels: GroupLabels) -> Iterator[Split]:
        """Yield every fold in turn, groups in sorted order.

        Raises
        ------
        SplitError
            If there are too few groups to leave `p` out and train on the rest.
        """
        self._check(labels)
        for wanted in combinations(range(len(labels.names)), self.p):
            yield self._leave_out(labels, wanted)

    def _leave_out(self, labels: GroupLabels, wanted: Sequence[int]) -> Split:
        held = labels.rows_of(wanted)
        holdout = " + ".join(labels.names[code] for code in wanted)
        return Split(holdout, np.flatnonzero(~held), np.flatnonzero(held))

    def _check(self, labels: GroupLabels) -> None:
        found = len(labels.names)
        if found <= self.p:
            shown = ", ".join(map(repr, labels.names[:5])) + (", ..." if found > 5 else "")
            msg = (
                f"leaving {self.p} group{'s' if self.p > 1 else ''} out needs at least "
                f"{self.p + 1} groups, and the data has {found}: {shown or 'none'}"
            )
            raise SplitError(msg)
        if comb(found, self.p) > _MOST_FOLDS:
            msg = (
                f"leaving {self.p} of {found} groups out makes {comb(found, self.p):,} folds; "
                f"at most {_MOST_FOLDS:,} are planned, so use a smaller p"
            )
            raise SplitError(msg)

    def _labels(self, groups: ArrayLike | None) -> GroupLabels:
        if groups is None:
            msg = "groups are needed to leave groups out, and none were given"
            raise SplitError(msg)
        labels = GroupLabels.from_values(groups)
        self._check(labels)
        return labels


def _combination_at(n: int, p: int, index: int) -> tuple[int, ...]:
    """Return what ``list(combinations(range(n), p))[index]`` is, without the list."""
    if not 0 <= index < comb(n, p):
        msg = f"fold {index} of {comb(n, p)}"
        raise IndexError(msg)
    chosen: list[int] = []
    code = 0
    while len(chosen) < p:
        with_code = comb(n - code - 1, p - len(chosen) - 1)  # combinations that go on with `code`
        if index < with_code:
            chosen.append(code)
        else:
            index -= with_code
        code += 1
    return tuple(chosen)
