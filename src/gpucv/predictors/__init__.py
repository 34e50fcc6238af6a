"""Regressors behind one protocol, found by name."""

from gpucv.predictors.base import FitContext, Params, Predictor, check_params, make_predictor

__all__ = ["FitContext", "Params", "Predictor", "check_params", "make_predictor"]
