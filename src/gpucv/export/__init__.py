"""Artifact sets: one verified predictor per configuration, for simulators to read."""

from gpucv.export.artifact import Artifact, ArtifactSet, Predictions

__all__ = ["Artifact", "ArtifactSet", "Predictions"]
