"""From a study's scheme to the rows of each fold.

A fold task carries the scheme and a number, not row lists: every worker makes the
same split from the same groups, and nothing big travels.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import SplitError, StudyError, nearest
from gpucv.splits.groups import GroupLabels, LeaveGroupsOut, Split, combine
from gpucv.splits.shapes import leave_shapes_out, shape_key
from gpucv.splits.temporal import temporal_splits
from gpucv.study import RESUBSTITUTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from gpucv.study import SchemeSpec

__all__ = ["make_split", "make_splits"]

_MOST_SPLITS = 1_000


def make_splits(
    scheme: SchemeSpec, keys: Mapping[str, GroupLabels], n_rows: int, seed: int
) -> Iterator[Split]:
    """Yield every fold's rows, one by one, in the order of `make_split`'s `index`.

    Parameters
    ----------
    scheme : SchemeSpec
    keys : mapping of str to GroupLabels
        The group columns of the table, and the shapes of ``scheme.disjoint``.
    n_rows : int
    seed : int
        For splitters that draw at random.

    Raises
    ------
    SplitError
        If the groups cannot be held out, or make too many folds; the message names
        the groups found.
    StudyError
        If the splitter is not one of scikit-learn's, or would ignore the groups.
    """
    try:
        for split in _all_splits(scheme, keys, n_rows, seed):
            yield _without_shared_shapes(scheme, keys, split)
    except SplitError as error:
        held = f" (hold_out {' x '.join(scheme.columns)})" if scheme.columns else ""
        msg = f"scheme {scheme.name!r}{held}: {error}; drop the scheme or add data"
        raise SplitError(msg) from error


def make_split(
    scheme: SchemeSpec, keys: Mapping[str, GroupLabels], index: int, *, n_rows: int, seed: int
) -> Split:
    """Return the rows of fold `index` of a scheme: what a worker makes of its task."""
    if scheme.splitter or scheme.temporal:
        split = next(islice(_all_splits(scheme, keys, n_rows, seed), index, None))
    else:
        split = LeaveGroupsOut(scheme.p).split_at(_groups(scheme, keys), index)
    return _without_shared_shapes(scheme, keys, split)


def _all_splits(
    scheme: SchemeSpec, keys: Mapping[str, GroupLabels], n_rows: int, seed: int
) -> Iterator[Split]:
    if scheme.temporal:
        yield from temporal_splits(_groups(scheme, keys), scheme.temporal)
        return
    if not scheme.splitter:
        yield from LeaveGroupsOut(scheme.p).splits(_groups(scheme, keys))
        return
    if scheme.splitter == RESUBSTITUTION:
        every = np.arange(n_rows)
        yield Split("in-sample", every, every, in_sample=True)
        return
    for index, (train, test) in enumerate(_splitter_parts(scheme, keys, n_rows, seed)):
        yield Split(f"split-{index}", np.sort(train), np.sort(test))


def _without_shared_shapes(
    scheme: SchemeSpec, keys: Mapping[str, GroupLabels], split: Split
) -> Split:
    return leave_shapes_out(split, keys[shape_key(scheme.shape)]) if scheme.shape else split


def _groups(scheme: SchemeSpec, keys: Mapping[str, GroupLabels]) -> GroupLabels:
    return combine([keys[column] for column in scheme.columns])


def _splitter_parts(
    scheme: SchemeSpec, keys: Mapping[str, GroupLabels], n_rows: int, seed: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield a splitter's folds: over all rows, or inside every group, fold i of each together."""
    if not scheme.within_columns:
        yield from _sklearn_splits(scheme, keys, n_rows, seed)
        return
    inside = combine([keys[column] for column in scheme.within_columns])
    each_group = inside.rows_by_group()
    parts = []
    for name, rows in zip(inside.names, each_group, strict=True):
        own = {column: replace(key, codes=key.codes[rows]) for column, key in keys.items()}
        try:
            parts.append(list(_sklearn_splits(scheme, own, len(rows), seed)))
        except SplitError as error:
            msg = f"inside {name!r}: {error}"
            raise SplitError(msg) from error
    if len({len(part) for part in parts}) > 1:
        msg = f"{scheme.splitter} makes different numbers of folds inside different groups"
        raise SplitError(msg)
    for folds in zip(*parts, strict=True):
        train = [rows[fit] for rows, (fit, _) in zip(each_group, folds, strict=True)]
        test = [rows[held] for rows, (_, held) in zip(each_group, folds, strict=True)]
        yield np.concatenate(train), np.concatenate(test)


def _sklearn_splits(
    scheme: SchemeSpec, keys: Mapping[str, GroupLabels], n_rows: int, seed: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the splits one by one: all of a leave-one-out's would not fit into memory."""
    splitter = _sklearn_splitter(scheme, seed)
    rows = np.zeros(n_rows)
    groups = _groups(scheme, keys).codes if scheme.columns else None
    try:
        count = splitter.get_n_splits(rows, None, groups)
        if count > _MOST_SPLITS:
            msg = f"makes {count:,} folds; at most {_MOST_SPLITS:,} are planned"
            raise ValueError(msg)
        yield from splitter.split(rows, None, groups)
    except (ValueError, TypeError) as error:
        msg = f"{scheme.splitter}: {error}"
        raise SplitError(msg) from error


def _sklearn_splitter(scheme: SchemeSpec, seed: int) -> Any:
    from sklearn import model_selection

    # Only names of this one module: a study file must never name code to import.
    known = {
        name: value
        for name, value in vars(model_selection).items()
        if inspect.isclass(value) and hasattr(value, "split") and hasattr(value, "get_n_splits")
    }
    if scheme.splitter not in known:
        msg = (
            f"scheme {scheme.name!r}: {scheme.splitter!r} is not a splitter of "
            f"sklearn.model_selection{nearest(scheme.splitter, known)}"
        )
        raise StudyError(msg)
    if scheme.columns and "Group" not in scheme.splitter:
        msg = (
            f"scheme {scheme.name!r}: {scheme.splitter} takes no notice of groups, so hold_out "
            f"would hold nothing out; use a group splitter or leave hold_out away"
        )
        raise StudyError(msg)
    made = known[scheme.splitter]
    params = dict(scheme.params)
    accepted = inspect.signature(made).parameters
    if "random_state" in accepted and params.get("shuffle", "shuffle" not in accepted):
        params.setdefault("random_state", seed)
    try:
        return made(**params)
    except (TypeError, ValueError) as error:
        msg = f"scheme {scheme.name!r}: {scheme.splitter}({scheme.params}): {error}"
        raise StudyError(msg) from error
