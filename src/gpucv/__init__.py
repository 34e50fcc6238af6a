"""Grouped cross-validation of LLM step-time models."""

from gpucv._version import __version__

__all__ = ["__version__"]
