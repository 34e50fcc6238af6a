"""Tables of steps and measurements: readers, checks of the rows, and imports."""

from gpucv.traces.csv_import import import_csv
from gpucv.traces.formats import FORMATS, format_named
from gpucv.traces.importing import ImportedTable, Importing, import_tables
from gpucv.traces.provenance import Note, SourceFile
from gpucv.traces.rows import check_rows
from gpucv.traces.step_table import ReadOptions, StepTable, read_steps
from gpucv.traces.targets import derive_targets

__all__ = [
    "FORMATS",
    "ImportedTable",
    "Importing",
    "Note",
    "ReadOptions",
    "SourceFile",
    "StepTable",
    "check_rows",
    "derive_targets",
    "format_named",
    "import_csv",
    "import_tables",
    "read_steps",
]
