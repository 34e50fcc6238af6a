"""From a predictor as a study says it to predictions: transforms, groups, choices, warm starts."""

from gpucv.pipelines.base import Fitted, Report, Setting, answer, columns_of
from gpucv.pipelines.candidates import check_candidates, chooses, n_fits
from gpucv.pipelines.explanation import explain
from gpucv.pipelines.fit import fit_pipeline
from gpucv.pipelines.held_out import outside_training, phases_of
from gpucv.pipelines.learning_curve import learning_curve
from gpucv.pipelines.per_group import PerGroup
from gpucv.pipelines.rows import Examples, Inputs, block_rows, examples_of, inputs_of_rows
from gpucv.pipelines.search import SearchStorage
from gpucv.pipelines.warm import CurvePoint, few_shot_curve, next_rows

__all__ = [
    "CurvePoint",
    "Examples",
    "Fitted",
    "Inputs",
    "PerGroup",
    "Report",
    "SearchStorage",
    "Setting",
    "answer",
    "block_rows",
    "check_candidates",
    "chooses",
    "columns_of",
    "examples_of",
    "explain",
    "few_shot_curve",
    "fit_pipeline",
    "inputs_of_rows",
    "learning_curve",
    "n_fits",
    "next_rows",
    "outside_training",
    "phases_of",
]
