"""Every target by name, for the tests and for ``scripts/fuzz.py``."""

from __future__ import annotations

from tests.fuzz.documents import DOCUMENT_TARGETS
from tests.fuzz.folders import FOLDER_TARGETS
from tests.fuzz.traces import TRACE_TARGETS

__all__ = ["TARGETS"]

TARGETS = {**TRACE_TARGETS, **DOCUMENT_TARGETS, **FOLDER_TARGETS}
