"""XGBoost's model file, looked through before XGBoost reads it, and what walking it costs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Forest", "read_forest"]

_ARRAYS = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")


@dataclass(frozen=True, slots=True)
class Forest:
    """What a model file holds.

    Attributes
    ----------
    base_score : float
        Where every sum begins.
    features : int
    depths : tuple of int
        Of each tree: the most comparisons on a way to a leaf.
    thresholds : dict of int to ndarray of float32
        Values each feature is compared with, sorted.
    """

    base_score: float
    features: int
    depths: tuple[int, ...]
    thresholds: dict[int, NDArray[np.float32]]


def read_forest(content: bytes) -> Forest:
    """Read a model file in XGBoost's JSON, as it may come from anyone's hands.

    Raises
    ------
    DataError
        If it is damaged, or of a kind that artifacts do not hold: linear, with dropout, of
        several outputs, or with categories.
    """
    try:
        learner = json.loads(content)["learner"]
        booster = learner["gradient_booster"]
        if booster["name"] != "gbtree":
            _refuse(f"it is a {str(booster['name'])[:40]!r} model, not gbtree")
        told = learner["learner_model_param"]
        if int(told.get("num_class", 0)) > 1 or int(told.get("num_target", 1)) != 1:
            _refuse("it answers with several numbers")
        features = int(told["num_feature"])
        base = json.loads(told["base_score"])
        base = float(base[0] if isinstance(base, list) and len(base) == 1 else base)
        trees = booster["model"]["trees"]
        if any(booster["model"]["tree_info"]):
            _refuse("it answers with several numbers")
        if not isinstance(trees, list) or not np.isfinite(base):
            _refuse("its trees or its base score are none")
        used: dict[int, set[float]] = {}
        depths = tuple(_depth(tree, features, used) for tree in trees)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        _refuse(f"{type(error).__name__}: {error}", error)
    thresholds = {
        at: np.unique(np.array(list(found), dtype=np.float32)) for at, found in used.items()
    }
    return Forest(base, features, depths, thresholds)


def _depth(tree: Any, features: int, used: dict[int, set[float]]) -> int:
    """Return a tree's depth; every node is reached once, and every index is inside."""
    left, right, index, values, default = (np.asarray(tree[name]) for name in _ARRAYS)
    n = len(left)
    same = all(each.shape == (n,) for each in (right, index, values, default))
    whole = all(each.dtype.kind in "iub" for each in (left, right, index, default))
    if not n or not same or not whole or values.dtype.kind not in "if":
        _refuse("the arrays of a tree do not fit together")
    if np.any(np.asarray(tree.get("split_type", [])) != 0) or tree.get("categories"):
        _refuse("it compares categories")
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        _refuse("its leaves hold several numbers")
    if not np.isfinite(values.astype(np.float32)).all():
        _refuse("a threshold or leaf is no finite number")
    here, seen, depth = np.zeros(1, dtype=np.int64), 1, 0
    while True:
        inner = here[left[here] != -1]
        if not len(inner):
            return depth
        for at in inner:
            used.setdefault(int(index[at]), set()).add(float(values[at]))
        here = np.concatenate([left[inner], right[inner]]).astype(np.int64)
        seen += len(here)
        if here.min() < 0 or here.max() >= n or seen > n:
            _refuse("a node's children are not in its tree")
        if np.any(right[inner] != left[inner] + 1):
            # XGBoost takes the node behind the left child for the right one, wherever that is.
            _refuse("a node's right child does not follow its left one")
        if index[inner].min() < 0 or index[inner].max() >= features:
            _refuse("a node compares a feature the model does not have")
        depth += 1


def _refuse(why: str, cause: Exception | None = None) -> Any:
    msg = f"not a model this version can read: {why}"
    raise DataError(msg) from cause
