"""Regressors behind one protocol, found by name."""

from gpucv.predictors.base import (
    Contributing,
    FitContext,
    Params,
    Predictor,
    WithCoefficients,
    WithSeconds,
    answers_in_us,
    check_params,
    inputs_of,
    learns_raw_only,
    make_predictor,
    must_heed_directions,
    reads_labels,
    takes_device_rows,
)
from gpucv.predictors.complete import missing_input

__all__ = [
    "Contributing",
    "FitContext",
    "Params",
    "Predictor",
    "WithCoefficients",
    "WithSeconds",
    "answers_in_us",
    "check_params",
    "inputs_of",
    "learns_raw_only",
    "make_predictor",
    "missing_input",
    "must_heed_directions",
    "reads_labels",
    "takes_device_rows",
]
