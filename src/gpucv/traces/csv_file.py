"""Read one CSV file in blocks, so that its text is never held whole.

Types are guessed from the first block. Where a later value does not fit, the column
is widened (integer, float, text) and the file read again; a column of the step table
is never widened to text, so a stray word in it is an error with its line.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import TYPE_CHECKING, Any, NoReturn

from gpucv.errors import EnvironmentFaultError, TraceError
from gpucv.runs.layout import sha256_of
from gpucv.schema import columns_by_name
from gpucv.traces.piece import Piece, one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    from gpucv.traces.memory import MemoryBudget
    from gpucv.traces.piece import Selection
    from gpucv.traces.sources import Source

__all__ = ["read_csv"]

_BLOCK = 1 << 23
"""Bytes parsed at once; also the longest row that can be read."""
_HEADER = 1 << 20
"""The longest header line that can be read."""
_MISFIT = re.compile(
    r"In CSV column #(?P<column>\d+): (?:Row #(?P<row>\d+): )?"
    r"CSV conversion error to (?P<type>[^:]+): (?P<reason>.*)",
    re.DOTALL,
)
_WIDER = {"null": "int64", "int64": "double", "double": "string"}
"""What a guessed type becomes when a value does not fit; any other becomes text."""


def read_csv(source: Source, selection: Selection, budget: MemoryBudget) -> Piece:
    """Return the selected columns of a comma-separated file with a header line.

    Missing values are empty fields and the usual words for them (``NA``, ``nan``,
    ``null`` …); text keeps such words as they stand.

    Raises
    ------
    TraceError
        Naming the file, and the line where there is one.
    """
    try:
        names = _header(source)
        picked = [name for name in selection.pick(names, source.name) if name]
        reader = _Reader(source, names, picked, budget)
        table = reader.read()
        size, digest = source.path.stat().st_size, sha256_of(source.path)
    except OSError as error:
        msg = f"cannot read {source.name}: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    budget.hold(table.nbytes, source.name)
    file = SourceFile(source.name, size, digest, table.num_rows, "csv")
    return Piece(table, file, tuple(reader.notes))


def _header(source: Source) -> list[str]:
    """Return the names in the first line that is not blank."""
    with source.path.open("rb") as file:
        start = file.read(_HEADER)
    if not start.strip(b"\r\n\xef\xbb\xbf"):
        msg = f"{source.name} is empty ({len(start)} bytes); a CSV file starts with a header line"
        raise TraceError(msg)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        _refuse_encoding(source, 1)
    # Only the header is judged here: the cut may fall inside a character further down.
    lines = io.StringIO(start.decode("utf-8-sig", "replace"), newline="")
    try:
        names = next(row for row in csv.reader(lines, strict=True) if row)
    except (csv.Error, StopIteration) as error:
        msg = f"{source.name}, line 1: not a CSV header: {one_line(error)}"
        raise TraceError(msg) from error
    text = "".join(names)
    if "\ufffd" in text or "\0" in text:
        _refuse_encoding(source, 1)
    if len(names) == 1 and (found := [mark for mark in ";\t|" if mark in text]):
        msg = f"{source.name}: fields are parted by {found[0]!r}; save it with commas"
        raise TraceError(msg)
    return names


def _refuse_encoding(source: Source, line: int) -> NoReturn:
    msg = f"{source.name}, line {line}: not UTF-8 text; convert it (iconv -f latin1 -t utf-8)"
    raise TraceError(msg)


class _Reader:
    """One CSV file being read, with the column types as known so far."""

    def __init__(
        self, source: Source, names: list[str], picked: list[str], budget: MemoryBudget
    ) -> None:
        self.notes: list[Note] = []
        self._source = source
        self._names = names
        self._picked = picked
        self._budget = budget
        contract = columns_by_name()
        self._step_columns = {name for name in picked if name in contract}
        self._types = {
            name: "double" if contract[name].dtype == "float64" else contract[name].dtype
            for name in picked
            if name in contract
        }

    def read(self) -> Any:
        """Return the table, widening one column at a time until every value fits."""
        import pyarrow as pa

        if "" in self._names:
            message = f"{self._source.name}: the column without a name was passed over"
            self.notes.append(Note("column_passed_over", message, 1, "info"))
        while True:
            try:
                return self._stream()
            except (pa.ArrowInvalid, UnicodeDecodeError) as error:
                self._widen(error)

    def _stream(self) -> Any:
        import pyarrow as pa
        import pyarrow.csv as pa_csv

        options = pa_csv.ConvertOptions(
            include_columns=self._picked,
            column_types={name: pa.type_for_alias(kind) for name, kind in self._types.items()},
        )
        try:
            reader = pa_csv.open_csv(
                self._source.path,
                # One thread: only then do errors say the row.
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK),
                parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                convert_options=options,
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise
            return pa.table({name: pa.nulls(0) for name in self._picked})  # a header, no line end
        self._pin(reader.schema)
        batches = []
        size = 0
        for batch in reader:
            encoded = _encode_text(pa.Table.from_batches([batch]))
            size += encoded.nbytes
            self._budget.require(size, self._source.name)
            batches.append(encoded)
        self._note_text_over_lines(batches)
        return pa.concat_tables(batches) if batches else _encode_text(reader.schema.empty_table())

    def _note_text_over_lines(self, batches: list[Any]) -> None:
        """Warn of values with line ends in them: two stray quotes can swallow rows."""
        import pyarrow.compute as pc
        import pyarrow.types as pt

        for name in batches[0].schema.names if batches else ():
            kind = batches[0].schema.field(name).type
            if not pt.is_dictionary(kind):
                continue
            values = [chunk.dictionary for batch in batches for chunk in batch.column(name).chunks]
            count = sum(pc.sum(pc.match_substring(value, "\n")).as_py() or 0 for value in values)
            if count:
                message = (
                    f"{self._source.name}: {name!r} holds {count} values with a line end in them; "
                    "look for stray quotes"
                )
                self.notes.append(Note("text_over_lines", message, count, "warning"))

    def _pin(self, schema: Any) -> None:
        """Fix the guessed types, dates as the text they are; refuse text that is not UTF-8."""
        import pyarrow.types as pt

        for field in schema:
            if pt.is_binary(field.type):
                _refuse_encoding(self._source, _first_line_not_utf8(self._source))
            if pt.is_temporal(field.type):
                self._types[field.name] = "string"
            else:
                self._types.setdefault(field.name, str(field.type))

    def _widen(self, error: Exception) -> None:
        """Give the column that did not fit a wider type, or say where the file is wrong."""
        found = _MISFIT.match(str(error))
        if found is None:
            self._refuse(error)
        if "invalid UTF8" in found["reason"]:
            _refuse_encoding(self._source, _first_line_not_utf8(self._source))
        name = self._names[int(found["column"])]
        line = self._line(int(found["row"] or 0))
        value = one_line(found["reason"]).removeprefix("invalid value ")
        wider = _WIDER.get(self._types[name], "string")
        if wider == "string" and name in self._step_columns:
            msg = f"{self._source.name}, line {line}: {name!r} holds {value}, which is no number"
            raise TraceError(msg) from error
        if wider == "string":
            message = (
                f"{self._source.name}: {name!r} is read as text because line {line} holds {value}"
            )
            self.notes.append(Note("column_read_as_text", message, 1, "warning"))
        self._types[name] = wider

    def _refuse(self, error: Exception) -> NoReturn:
        """Say which line is wrong in a file that cannot be split into fields."""
        where = self._source.name
        text = str(error)
        if isinstance(error, UnicodeDecodeError):
            _refuse_encoding(self._source, _first_line_not_utf8(self._source))
        if "straddling object" in text:
            msg = f"{where}: a row is longer than {_BLOCK >> 20} MiB; is a quote left open?"
            raise TraceError(msg) from error
        row = re.search(r"Row #(\d+)", text)
        line = f", line {self._line(int(row[1]))}" if row else ""
        what = one_line(re.sub(r"^CSV parse error: (Row #\d+: )?", "", text))
        msg = f"{where}{line}: {what}; mend or remove that line"
        raise TraceError(msg) from error

    def _line(self, row: int) -> int:
        """Return the line a row ends on: blank lines and quoted line ends are no rows."""
        with self._source.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = csv.reader(file)
            try:
                rows = (lines.line_num for fields in lines if fields)
                return next((line for seen, line in enumerate(rows, start=1) if seen == row), row)
            except csv.Error:
                return row


def _first_line_not_utf8(source: Source) -> int:
    with source.path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _encode_text(table: Any) -> Any:
    """Return the table with its text columns dictionary-encoded."""
    import pyarrow as pa
    import pyarrow.types as pt

    for index, field in enumerate(table.schema):
        if pt.is_string(field.type):
            encoded = table.column(index).dictionary_encode()
            kind = pa.dictionary(pa.int32(), pa.string())
            table = table.set_column(index, pa.field(field.name, kind), encoded)
    return table
