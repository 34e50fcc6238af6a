"""Which rows are held out, and which watch the fit."""

from gpucv.splits.few_shot import split_pool, spread_candidates, spread_order
from gpucv.splits.groups import GroupLabels, LeaveGroupsOut, Split, combine
from gpucv.splits.schemes import make_split, make_splits
from gpucv.splits.shapes import code_shapes, leave_shapes_out, shape_key
from gpucv.splits.validation import split_validation

__all__ = [
    "GroupLabels",
    "LeaveGroupsOut",
    "Split",
    "code_shapes",
    "combine",
    "leave_shapes_out",
    "make_split",
    "make_splits",
    "shape_key",
    "split_pool",
    "split_validation",
    "spread_candidates",
    "spread_order",
]
