"""The study file: typed configuration, loading, fingerprint."""

from gpucv.study.config import (
    DataSpec,
    FeatureSpec,
    Study,
    ValidationSpec,
    VerdictSpec,
)
from gpucv.study.execution import ExecutionSpec, TlsSpec, Training
from gpucv.study.load import (
    LoadedStudy,
    deciding_settings,
    fingerprint,
    load_study,
    study_from_dict,
    study_to_toml,
)
from gpucv.study.predictor import ChooseSpec, PredictorSpec, TransformName
from gpucv.study.scheme import RESUBSTITUTION, FewShotSpec, SchemeSpec

__all__ = [
    "RESUBSTITUTION",
    "ChooseSpec",
    "DataSpec",
    "ExecutionSpec",
    "FeatureSpec",
    "FewShotSpec",
    "LoadedStudy",
    "PredictorSpec",
    "SchemeSpec",
    "Study",
    "TlsSpec",
    "Training",
    "TransformName",
    "ValidationSpec",
    "VerdictSpec",
    "deciding_settings",
    "fingerprint",
    "load_study",
    "study_from_dict",
    "study_to_toml",
]
