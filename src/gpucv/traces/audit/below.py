"""Which rows are faster than physics allows: the audit's rule, as a mask to leave them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import TraceError
from gpucv.schema import SOL_US
from gpucv.traces.audit.floor import floors_us
from gpucv.traces.audit.subject import Subject

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog
    from gpucv.traces.audit.subject import AuditScope

__all__ = ["below_floor"]


def below_floor(
    frame: pd.DataFrame, target: str, catalog: Catalog, scope: AuditScope
) -> NDArray[np.bool_]:
    """Return the rows whose target is less than physics allows, shape (n_rows,).

    Steps that run the model are held against reading its weights once, or their own speed
    of light where that is longer; measurements against their speed of light. A row without
    a known floor, or without a target, is not below it.

    Raises
    ------
    TraceError
        If the target is no time in us, so that nothing can be said of it.
    """
    if not target.endswith("_us"):
        msg = f'no floor for {target!r}: floors are times in us; set data.below_floor to "keep"'
        raise TraceError(msg)
    subject = Subject(frame, scope, catalog)
    times = subject.numbers(target)
    if subject.is_steps:
        floor = floors_us(subject)[0]
    elif SOL_US in subject:
        floor = subject.numbers(SOL_US)
    else:
        return np.zeros(len(frame), dtype=bool)
    with np.errstate(invalid="ignore"):
        below: NDArray[np.bool_] = times < floor
    return below
