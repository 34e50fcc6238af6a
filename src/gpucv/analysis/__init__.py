"""From result tables to findings: averages, rank stability, a verdict and what follows."""

from gpucv.analysis.aggregate import SchemeSummary, summarise_schemes
from gpucv.analysis.donors import DONOR_COLUMNS, DonorSummary, summarise_donors
from gpucv.analysis.few_shot import (
    FEW_SHOT_COLUMNS,
    NEXT_ROW_COLUMNS,
    Curve,
    CurveAt,
    Learning,
    error_levels,
    learning_curves,
    overtaken_at,
)
from gpucv.analysis.gap import OptimismGap, optimism_gaps
from gpucv.analysis.leaderboard import (
    DIFFERENCE_COLUMNS,
    LEADERBOARD_COLUMNS,
    Leaderboard,
    rank_formulations,
)
from gpucv.analysis.meaning import SchemeMeaning, scheme_meanings, schemes_from_json
from gpucv.analysis.recorded import read_recorded
from gpucv.analysis.stability import fold_ranks, mean_rank_std, stability_table, top_features
from gpucv.analysis.tables import (
    EXPERIMENT_COLUMNS,
    FOLD_COLUMNS,
    IMPORTANCE_COLUMNS,
    LATER_FOLD_COLUMNS,
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
    "DIFFERENCE_COLUMNS",
    "DONOR_COLUMNS",
    "EXPERIMENT_COLUMNS",
    "FEW_SHOT_COLUMNS",
    "FOLD_COLUMNS",
    "IMPORTANCE_COLUMNS",
    "LATER_FOLD_COLUMNS",
    "LEADERBOARD_COLUMNS",
    "NEXT_ROW_COLUMNS",
    "OPTIONAL_FOLD_COLUMNS",
    "STABILITY_COLUMNS",
    "Curve",
    "CurveAt",
    "DonorSummary",
    "Formulation",
    "Leaderboard",
    "Learning",
    "OptimismGap",
    "SchemeMeaning",
    "SchemeSummary",
    "StudyTables",
    "Thresholds",
    "Verdict",
    "error_levels",
    "fold_ranks",
    "formulations",
    "judge",
    "learning_curves",
    "mean_rank_std",
    "optimism_gaps",
    "overtaken_at",
    "rank_formulations",
    "read_recorded",
    "scheme_meanings",
    "schemes_from_json",
    "stability_table",
    "summarise_donors",
    "summarise_schemes",
    "thresholds_from_json",
    "top_features",
    "verdicts_json",
]
