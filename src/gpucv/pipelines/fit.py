"""The one door to a fit: what a predictor asks for decides which pipeline it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.pipelines.choice import fit_ungrouped
from gpucv.pipelines.per_group import fit_per_group

if TYPE_CHECKING:
    from gpucv.pipelines.base import Fitted, Setting
    from gpucv.pipelines.rows import Examples, Inputs
    from gpucv.study import PredictorSpec

__all__ = ["fit_pipeline"]


def fit_pipeline(
    spec: PredictorSpec,
    train: Examples,
    valid: Examples | None,
    setting: Setting,
    asked: Inputs,
) -> Fitted:
    """Fit what `spec` describes.

    Parameters
    ----------
    spec : PredictorSpec
    train : Examples
        Rows to fit to.
    valid : Examples or None
        Rows that watch the fit.
    setting : Setting
    asked : Inputs
        The rows that will be predicted, without their target: a predictor fitted per
        group fits the groups asked for.

    Raises
    ------
    DataError, StudyError
        As `gpucv.pipelines.single.fit_single`.
    SplitError
        If a group has no row to learn from.
    """
    if spec.per_columns:
        return fit_per_group(spec, train, valid, setting, asked)
    return fit_ungrouped(spec, train, valid, setting)
