"""From a predictor as a study says it to predictions: transforms, groups, choices, warm starts."""

from gpucv.pipelines.base import Fitted, Report, Setting, columns_of
from gpucv.pipelines.candidates import check_candidates, chooses, n_fits
from gpucv.pipelines.fit import fit_pipeline
from gpucv.pipelines.per_group import PerGroup
from gpucv.pipelines.rows import Examples, Inputs, examples_of, inputs_of_rows
from gpucv.pipelines.warm import CurvePoint, few_shot_curve, next_rows

__all__ = [
    "CurvePoint",
    "Examples",
    "Fitted",
    "Inputs",
    "PerGroup",
    "Report",
    "Setting",
    "check_candidates",
    "chooses",
    "columns_of",
    "examples_of",
    "few_shot_curve",
    "fit_pipeline",
    "inputs_of_rows",
    "n_fits",
    "next_rows",
]
