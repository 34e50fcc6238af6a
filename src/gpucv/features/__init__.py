"""Features of a step, and the table of them that folds read."""

from gpucv.features.contract import Availability, Feature, FeatureSet, WithTokens
from gpucv.features.device import DeviceArrays, device_library, move_arrays
from gpucv.features.sets import view_name
from gpucv.features.suitability import check_features, empty_features
from gpucv.features.table import (
    FeatureTable,
    build_features,
    build_table,
    group_columns,
    required_columns,
)
from gpucv.features.views import baseline_of, reads_physics30, work_columns

__all__ = [
    "Availability",
    "DeviceArrays",
    "Feature",
    "FeatureSet",
    "FeatureTable",
    "WithTokens",
    "baseline_of",
    "build_features",
    "build_table",
    "check_features",
    "device_library",
    "empty_features",
    "group_columns",
    "move_arrays",
    "reads_physics30",
    "required_columns",
    "view_name",
    "work_columns",
]
