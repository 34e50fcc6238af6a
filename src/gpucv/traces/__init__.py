"""Step tables: readers for every source, checks of the rows, and the import of recordings."""

from gpucv.traces.audit import roofline_floor_note
from gpucv.traces.importing import ImportedTable, import_recordings
from gpucv.traces.provenance import Note, SourceFile
from gpucv.traces.rows import check_rows
from gpucv.traces.step_table import StepTable, read_steps

__all__ = [
    "ImportedTable",
    "Note",
    "SourceFile",
    "StepTable",
    "check_rows",
    "import_recordings",
    "read_steps",
    "roofline_floor_note",
]
