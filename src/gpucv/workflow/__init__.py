"""A study from file to findings, for Python and the command line alike."""

from gpucv.workflow.auditing import audit
from gpucv.workflow.comparing import compare
from gpucv.workflow.execution import as_loaded, resume, run, start
from gpucv.workflow.preparation import PreparedStudy, prepare
from gpucv.workflow.result import Result
from gpucv.workflow.rows import StudyRows, read_rows

__all__ = [
    "PreparedStudy",
    "Result",
    "StudyRows",
    "as_loaded",
    "audit",
    "compare",
    "prepare",
    "read_rows",
    "resume",
    "run",
    "start",
]
