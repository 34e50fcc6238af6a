"""A study from file to findings, for Python and the command line alike."""

from gpucv.workflow.execution import as_loaded, resume, run, start
from gpucv.workflow.preparation import PreparedStudy, prepare, read_rows
from gpucv.workflow.result import Result

__all__ = [
    "PreparedStudy",
    "Result",
    "as_loaded",
    "prepare",
    "read_rows",
    "resume",
    "run",
    "start",
]
