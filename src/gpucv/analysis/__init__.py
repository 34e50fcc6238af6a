"""From result tables to findings: averages, rank stability, a verdict and what follows."""

from gpucv.analysis.aggregate import SchemeSummary, summarise_schemes
from gpucv.analysis.conformal import (
    COVERAGE_COLUMNS,
    LEVELS,
    Coverage,
    coverage_table,
    summarise_coverage,
)
from gpucv.analysis.domain_error import ScoreBin, error_by_score
from gpucv.analysis.donors import DONOR_COLUMNS, DonorSummary, summarise_donors
from gpucv.analysis.error_by_round import LEARNING_CURVE_COLUMNS
from gpucv.analysis.errors import ERROR_COLUMNS, error_table, part_means, scale_factor
from gpucv.analysis.explanations import EXPLANATION_COLUMNS, MEASURES, measure_ranks
from gpucv.analysis.failure import (
    OUTSIDE_COLUMNS,
    ScaleSummary,
    outside_features,
    scale_summary,
)
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
from gpucv.analysis.intervals import INTERVAL_COLUMNS, METRICS, interval_table
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
from gpucv.analysis.timeline import (
    GPU_COLUMNS,
    TIMELINE_COLUMNS,
    Bar,
    Timeline,
    gpu_rows,
    timeline_of,
    timeline_rows,
)
from gpucv.analysis.verdict import (
    Thresholds,
    Verdict,
    judge,
    thresholds_from_json,
    verdicts_json,
)

__all__ = [
    "COVERAGE_COLUMNS",
    "DIFFERENCE_COLUMNS",
    "DONOR_COLUMNS",
    "ERROR_COLUMNS",
    "EXPERIMENT_COLUMNS",
    "EXPLANATION_COLUMNS",
    "FEW_SHOT_COLUMNS",
    "FOLD_COLUMNS",
    "GPU_COLUMNS",
    "IMPORTANCE_COLUMNS",
    "INTERVAL_COLUMNS",
    "LATER_FOLD_COLUMNS",
    "LEADERBOARD_COLUMNS",
    "LEARNING_CURVE_COLUMNS",
    "LEVELS",
    "MEASURES",
    "METRICS",
    "NEXT_ROW_COLUMNS",
    "OPTIONAL_FOLD_COLUMNS",
    "OUTSIDE_COLUMNS",
    "STABILITY_COLUMNS",
    "TIMELINE_COLUMNS",
    "Bar",
    "Coverage",
    "Curve",
    "CurveAt",
    "DonorSummary",
    "Formulation",
    "Leaderboard",
    "Learning",
    "OptimismGap",
    "ScaleSummary",
    "SchemeMeaning",
    "SchemeSummary",
    "ScoreBin",
    "StudyTables",
    "Thresholds",
    "Timeline",
    "Verdict",
    "coverage_table",
    "error_by_score",
    "error_levels",
    "error_table",
    "fold_ranks",
    "formulations",
    "gpu_rows",
    "interval_table",
    "judge",
    "learning_curves",
    "mean_rank_std",
    "measure_ranks",
    "optimism_gaps",
    "outside_features",
    "overtaken_at",
    "part_means",
    "rank_formulations",
    "read_recorded",
    "scale_factor",
    "scale_summary",
    "scheme_meanings",
    "schemes_from_json",
    "stability_table",
    "summarise_coverage",
    "summarise_donors",
    "summarise_schemes",
    "thresholds_from_json",
    "timeline_of",
    "timeline_rows",
    "top_features",
    "verdicts_json",
]
