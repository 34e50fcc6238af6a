"""Features of a step, and the table of them that folds read."""

from gpucv.features.contract import Availability, Feature
from gpucv.features.table import (
    FeatureTable,
    build_features,
    build_table,
    group_columns,
    required_columns,
)

__all__ = [
    "Availability",
    "Feature",
    "FeatureTable",
    "build_features",
    "build_table",
    "group_columns",
    "required_columns",
]
