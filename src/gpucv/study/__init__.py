"""The study file: typed configuration, loading, fingerprint."""

from gpucv.study.config import (
    DataSpec,
    ExecutionSpec,
    FeatureSpec,
    PredictorSpec,
    SchemeSpec,
    Study,
    ValidationSpec,
    VerdictSpec,
)
from gpucv.study.load import LoadedStudy, fingerprint, load_study, study_from_dict, study_to_toml

__all__ = [
    "DataSpec",
    "ExecutionSpec",
    "FeatureSpec",
    "LoadedStudy",
    "PredictorSpec",
    "SchemeSpec",
    "Study",
    "ValidationSpec",
    "VerdictSpec",
    "fingerprint",
    "load_study",
    "study_from_dict",
    "study_to_toml",
]
