"""A CSV file as batches of rows, with the types that fit every value of it.

Types are guessed from the first block. Where a later value does not fit, the column
is widened (integer, float, text) and the file read again; a column of the step table
is never widened to text, so a stray word in it is an error with its line.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from gpucv.errors import TraceError
from gpucv.schema import columns_by_name
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpucv.traces.sources import Source

__all__ = ["CsvStream", "csv_header"]

_BLOCK = 1 << 20
"""Bytes parsed at once. Up to 32 blocks are read ahead, so what is held is some 100 MB."""
_LONGEST_ROW = 1 << 23
"""Bytes; where a row is longer than a block, blocks of this length are tried."""
_HEADER = 1 << 20
"""The longest header line that can be read."""
_MISFIT = re.compile(
    r"In CSV column #(?P<column>\d+): (?:Row #(?P<row>\d+): )?"
    r"CSV conversion error to (?P<type>[^:]+): (?P<reason>.*)",
    re.DOTALL,
)
_WIDER = {"null": "int64", "int64": "double", "double": "string"}
"""What a guessed type becomes when a value does not fit; any other becomes text."""

T = TypeVar("T")


def csv_header(source: Source) -> list[str]:
    """Return the names in the first line that is not blank.

    Raises
    ------
    TraceError
        If the file is empty, or that line is no header of UTF-8 text parted by commas.
    """
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


class CsvStream:
    """One CSV file being read, with the column types as known so far.

    Parameters
    ----------
    source : Source
    names : sequence of str
        The header.
    picked : sequence of str
        The columns to read, in the file's own order.
    """

    def __init__(self, source: Source, names: Sequence[str], picked: Sequence[str]) -> None:
        self.notes: list[Note] = []
        self._source = source
        self._names = names
        self._picked = list(picked)
        self._block = _BLOCK
        self._over_lines: Counter[str] = Counter()
        contract = columns_by_name()
        self._step_columns = {name for name in picked if name in contract}
        self._types = {
            name: "double" if contract[name].dtype == "float64" else contract[name].dtype
            for name in picked
            if name in contract
        }

    def whole(self, make: Callable[[Iterator[Any]], T]) -> T:
        """Return what `make` makes of the batches, begun anew until every value fits its type.

        Raises
        ------
        TraceError
            Naming the file, and the line where there is one.
        """
        import pyarrow as pa

        while True:
            try:
                made = make(self.batches())
            except (pa.ArrowInvalid, UnicodeDecodeError) as error:
                self._widen(error)
            else:
                self._take_notes()
                return made

    def batches(self) -> Iterator[Any]:
        """Yield tables of some thousand rows; text is dictionary-encoded.

        Raises
        ------
        pyarrow.ArrowInvalid, UnicodeDecodeError
            Where a value does not fit; `whole` turns that into a wider type, or one line.
        """
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
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=self._block),
                parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                convert_options=options,
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise
            # A header, and no line end.
            yield pa.table({name: pa.nulls(0) for name in self._picked})
            return
        with reader:
            self._pin(reader.schema)
            self._over_lines.clear()
            yield _encode_text(reader.schema.empty_table())
            for batch in reader:
                encoded = _encode_text(pa.Table.from_batches([batch]))
                self._count_line_ends(encoded)
                yield encoded

    def _count_line_ends(self, table: Any) -> None:
        """Count values with line ends in them: two stray quotes can swallow rows."""
        import pyarrow.compute as pc
        import pyarrow.types as pt

        for name in table.column_names:
            if pt.is_dictionary(table.schema.field(name).type):
                for chunk in table.column(name).chunks:
                    found = pc.sum(pc.match_substring(chunk.dictionary, "\n")).as_py()
                    self._over_lines[name] += found or 0

    def _take_notes(self) -> None:
        where = self._source.name
        if "" in self._names:
            message = f"{where}: the column without a name was passed over"
            self.notes.append(Note("column_passed_over", message, 1, "info"))
        for name, count in self._over_lines.items():
            if count:
                message = (
                    f"{where}: {name!r} holds {count} values with a line end in them; "
                    "look for stray quotes"
                )
                self.notes.append(Note("text_over_lines", message, count, "warning"))
        if not self._ends_with_a_line_end():
            message = (
                f"{where}: the last line has no line end; if the file was cut short, its last "
                "value may be, too"
            )
            self.notes.append(Note("no_last_line_end", message, 1, "warning"))

    def _ends_with_a_line_end(self) -> bool:
        with self._source.path.open("rb") as file:
            file.seek(-1, io.SEEK_END)
            return file.read(1) in b"\r\n"

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
        """Give the column that did not fit a wider type, or a long row a longer block.

        Raises
        ------
        TraceError
            If neither helps: it says where the file is wrong.
        """
        if "straddling object" in str(error) and self._block < _LONGEST_ROW:
            self._block = _LONGEST_ROW
            return
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
            msg = f"{where}: a row is longer than {_LONGEST_ROW >> 20} MiB; is a quote left open?"
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
