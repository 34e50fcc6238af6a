"""Regressors behind one protocol, found by name."""

from gpucv.predictors.base import (
    Contributing,
    EveryRow,
    FitContext,
    Params,
    Predictor,
    Staged,
    WithCoefficients,
    WithSeconds,
    check_params,
    make_predictor,
    must_heed_directions,
    registration,
)
from gpucv.predictors.complete import missing_input

__all__ = [
    "Contributing",
    "EveryRow",
    "FitContext",
    "Params",
    "Predictor",
    "Staged",
    "WithCoefficients",
    "WithSeconds",
    "check_params",
    "make_predictor",
    "missing_input",
    "must_heed_directions",
    "registration",
]
