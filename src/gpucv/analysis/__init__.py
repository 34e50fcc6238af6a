"""From result tables to findings: averages, rank stability, a verdict and what follows."""

from gpucv.analysis.aggregate import SchemeSummary, summarise_schemes
from gpucv.analysis.gap import OptimismGap, optimism_gaps
from gpucv.analysis.meaning import SchemeMeaning, scheme_meanings, schemes_from_json
from gpucv.analysis.recorded import read_recorded
from gpucv.analysis.stability import fold_ranks, mean_rank_std, stability_table, top_features
from gpucv.analysis.tables import (
    EXPERIMENT_COLUMNS,
    FOLD_COLUMNS,
    IMPORTANCE_COLUMNS,
    OPTIONAL_FOLD_COLUMNS,
    STABILITY_COLUMNS,
    Formulation,
    StudyTables,
    formulations,
)
from gpucv.analysis.verdict import (
    Thresholds,
    Verdict,
    judge,
    thresholds_from_json,
    verdicts_json,
)

__all__ = [
    "EXPERIMENT_COLUMNS",
    "FOLD_COLUMNS",
    "IMPORTANCE_COLUMNS",
    "OPTIONAL_FOLD_COLUMNS",
    "STABILITY_COLUMNS",
    "Formulation",
    "OptimismGap",
    "SchemeMeaning",
    "SchemeSummary",
    "StudyTables",
    "Thresholds",
    "Verdict",
    "fold_ranks",
    "formulations",
    "judge",
    "mean_rank_std",
    "optimism_gaps",
    "read_recorded",
    "scheme_meanings",
    "schemes_from_json",
    "stability_table",
    "summarise_schemes",
    "thresholds_from_json",
    "top_features",
    "verdicts_json",
]
