"""What a split of rows hides: its error beside that on groups never seen.

A control holds rows out whatever their group, or none at all, so training has seen rows
much like every test row, or the row itself. Its error is the one most often reported, and
the lowest. The difference to a scheme that holds groups out is the optimism of such a report.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.analysis.aggregate import SchemeSummary

__all__ = ["OptimismGap", "optimism_gaps"]


@dataclass(frozen=True, slots=True)
class OptimismGap:
    """One scheme that holds groups out against one control.

    Attributes
    ----------
    scheme, control : SchemeSummary
        Of the same formulation.
    """

    scheme: SchemeSummary
    control: SchemeSummary

    @property
    def points(self) -> float:
        """Average test MAPE of the scheme minus the control's, in percentage points.

        NaN where either average does not exist or is infinite.
        """
        points = self.scheme.average_mape - self.control.average_mape
        return points if math.isfinite(points) else math.nan

    @property
    def ratio(self) -> float:
        """Average test MAPE of the scheme over the control's; NaN where that is no number."""
        if math.isnan(self.points) or not self.control.average_mape:
            return math.nan
        return self.scheme.average_mape / self.control.average_mape

    @property
    def sentence(self) -> str:
        """The gap in words, with the folds behind both averages."""
        scheme, control = self.scheme, self.control
        if not control.n_finished:
            return (
                f"{scheme.scheme}: the optimism gap is not known, as none of the "
                f"{control.n_planned} folds of the control {control.scheme} finished."
            )
        told = (
            f"{scheme.scheme}: {scheme.average_mape:.1f}% on {scheme.meaning.asked} "
            f"({_folds(scheme)}) against {control.average_mape:.1f}% on {control.meaning.split} "
            f"({control.scheme}, {_folds(control)}): {self._size()}."
        )
        missing = control.n_planned - control.n_finished
        if missing:
            told += f" {missing} of the control's folds did not finish, and could move this gap."
        return told

    def _size(self) -> str:
        if math.isnan(self.points):
            return "a gap without a number"
        times = "" if math.isnan(self.ratio) else f" ({self.ratio:.1f}x)"
        if self.points <= 0:
            return f"no optimism gap, {self.points:+.1f} points{times}"
        return f"an optimism gap of {self.points:.1f} points{times}"

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values; a number that does not exist is ``None``."""
        scheme, control = self.scheme, self.control
        return {
            "scheme": scheme.scheme,
            "control": control.scheme,
            "mape": _number(scheme.average_mape),
            "control_mape": _number(control.average_mape),
            "gap_points": _number(self.points),
            "ratio": _number(self.ratio),
            "n_finished": scheme.n_finished,
            "n_planned": scheme.n_planned,
            "control_n_finished": control.n_finished,
            "control_n_planned": control.n_planned,
        }


def optimism_gaps(schemes: Sequence[SchemeSummary]) -> tuple[OptimismGap, ...]:
    """Set every scheme with a finished fold against every control, in study order.

    Parameters
    ----------
    schemes : sequence of SchemeSummary
        Of one formulation. Without a control among them there is no gap.
    """
    return tuple(
        OptimismGap(scheme, control)
        for scheme in schemes
        if not scheme.meaning.control and scheme.n_finished
        for control in schemes
        if control.meaning.control
    )


def _folds(summary: SchemeSummary) -> str:
    return f"n = {summary.n_finished} of {summary.n_planned} folds"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
