"""Which rows are held out, and which watch the fit."""

from gpucv.splits.groups import GroupLabels, LeaveGroupsOut, Split, combine
from gpucv.splits.schemes import make_split, make_splits
from gpucv.splits.validation import split_validation

__all__ = [
    "GroupLabels",
    "LeaveGroupsOut",
    "Split",
    "combine",
    "make_split",
    "make_splits",
    "split_validation",
]
