"""Columns that teach nothing, because they hold one value or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.traces.audit.result import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.audit.subject import Subject

__all__ = ["constant_features"]


def constant_features(subject: Subject) -> list[Finding]:
    """List features of one value, and features without a single value.

    The scope's features, else every numeric column that describes the work. Columns
    without a value are no features; they are told apart.
    """
    names = subject.scope.features or subject.work
    constant, empty = [], []
    for name in names:
        if subject.is_number(name):
            values: NDArray[Any] = subject.numbers(name)
            known = values[~np.isnan(values)]
        else:
            values = subject.codes(name)[0]
            known = values[values >= 0]
        if not len(known):
            empty.append(name)
        elif len(known) == subject.rows and (known == known[0]).all():
            constant.append(name)
    found = []
    if constant:
        message = (
            f"{', '.join(constant)}: one value in all {subject.rows:,} rows, so nothing can be "
            "learned from it; leave it out, or add data that varies it"
        )
        found.append(Finding("constant_features", "info", message, {"columns": constant}))
    if empty:
        message = f"{', '.join(empty)}: no value in any row; leave it out of the features"
        found.append(Finding("empty_features", "info", message, {"columns": empty}))
    return found
