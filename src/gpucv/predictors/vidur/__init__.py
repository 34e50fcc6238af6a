"""Vidur's way: one regressor per operator, and rules that make a step of their times."""

from gpucv.predictors.vidur.composition import (
    OpTimes,
    PrefillChunk,
    VidurBatch,
    VidurOverheads,
    VidurShape,
    compose_step,
)
from gpucv.predictors.vidur.regressor import VIDUR_INPUTS, VidurParams, VidurPredictor, vidur_mape

__all__ = [
    "VIDUR_INPUTS",
    "OpTimes",
    "PrefillChunk",
    "VidurBatch",
    "VidurOverheads",
    "VidurParams",
    "VidurPredictor",
    "VidurShape",
    "compose_step",
    "vidur_mape",
]
