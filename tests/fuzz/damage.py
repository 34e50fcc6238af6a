"""Ways to damage a file: bytes, words, cells and the structure under them.

Everything is drawn from a `random.Random`, so that hypothesis (which hands one out and shrinks
what was drawn), atheris (as its mutator) and a plain loop share one engine.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["NASTY", "damaged"]

NASTY: tuple[Any, ...] = (
    *(0, -1, 1, 7, 2**24 + 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, 1e19, float("nan"), float("inf"), float("-inf")),
    *("", " ", "x" * 300, "\0", "\udcff", "\u202e", "\x1b]0;x\x07", "\n", "\r", "a,b", '"', "=1+1"),
    *(
        "nan",
        "-inf",
        "1e400",
        "1_000",
        "\u0663",
        "0x10",
        "\u0661.\u0662",
        "2026-02-30T25:61:61Z",
        "9" * 5000,
    ),
    *("../../x", "[", "{", "%s%n", "NULL", "True", "tcp://[", "-1", "1e19", "9223372036854775808"),
    *(None, True, False, [], {}, [[]], [None], {"": None}, [1, "a"], {"a": {"b": [1]}}),
)
"""Values that are legal in some format and expected in none."""

_WORD = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[A-Za-z_][\w.]*")
_BYTES = (
    *(b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n", b",", b'"', b"'", b"[["),
    *(b"{", b"}", b"]", b"#", b": ", b"&a *a", b"\x1f\x8b\x08", b"PAR1", b"[" * 3000, b"{" * 3000),
    *(
        b'{"a":' * 3000,
        b"9" * 5000,
        b"\xed\xa0\x80",
        b"\x80",
        b"\\ud800",
        b"\\u0000",
        b"= ",
        b"\t",
        b"0x" + b"f" * 5000,
    ),
)
_MOST_BYTES = 400_000


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return `content` after one to eight changes."""
    for _ in range(draw.choice((1, 1, 1, 1, 2, 3, 8))):
        content = draw.choice(_WAYS)(content, draw)[:_MOST_BYTES]
    return content


def _flip(content: bytes, draw: random.Random) -> bytes:
    at = _place(content, draw)
    return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]


def _flip_near_the_end(content: bytes, draw: random.Random) -> bytes:
    """Parquet keeps its footer there."""
    at = max(len(content) - 1 - draw.randrange(1, 2000), 0)
    return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: _place(content, draw)]


def _remove(content: bytes, draw: random.Random) -> bytes:
    at = _place(content, draw)
    return content[:at] + content[at + draw.choice((1, 2, 8, 64, 1000)) :]


def _insert(content: bytes, draw: random.Random) -> bytes:
    at = _place(content, draw)
    return content[:at] + draw.choice(_BYTES) + content[at:]


def _repeat(content: bytes, draw: random.Random) -> bytes:
    at, length = _place(content, draw), draw.choice((1, 8, 64, 500))
    return content[: at + length] * draw.choice((1, 2)) + content[at:]


def _swap_a_word(content: bytes, draw: random.Random) -> bytes:
    words = list(_WORD.finditer(content[:100_000]))
    if not words:
        return _insert(content, draw)
    word = draw.choice(words)
    value = draw.choice((draw.choice(NASTY), content[draw.choice(words).start() :][:12]))
    new = value if isinstance(value, bytes) else _written(value)
    return content[: word.start()] + new + content[word.end() :]


def _swap_a_cell(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    cells = lines[at].split(b",")
    cells[draw.randrange(len(cells))] = _written(draw.choice(NASTY))
    lines[at] = b",".join(cells)
    return b"\n".join(lines)


def _swap_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one] = lines[other] if draw.random() < 0.5 else b""
    return b"\n".join(lines)


def _restructure(content: bytes, draw: random.Random) -> bytes:
    """Change one value of the document, or of one line's, and write it anew."""
    for read, write in _DOCUMENTS:
        with contextlib.suppress(Exception):
            return write(_changed(read(content), draw))
    with contextlib.suppress(Exception):
        lines = content.split(b"\n")
        at = draw.randrange(len(lines))
        lines[at] = _json(_changed(json.loads(lines[at]), draw))
        return b"\n".join(lines)
    return _swap_a_word(content, draw)


def _changed(value: Any, draw: random.Random) -> Any:
    """Replace, remove or double one value somewhere inside `value`."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.05:
        return draw.choice(NASTY)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw.choice(keys)
    match draw.choice(("deeper", "deeper", "deeper", "replace", "remove", "rename", "twice")):
        case "replace":
            value[key] = draw.choice(NASTY)
        case "remove":
            del value[key]
        case "rename" if isinstance(value, dict):
            value[f"{draw.choice(('', '0', key))}"] = value.pop(key)
        case "twice" if isinstance(value, list):
            value.append(value[key])
        case _:
            value[key] = _changed(value[key], draw)
    return value


def _retype(content: bytes, draw: random.Random) -> bytes:
    """Give one column of a parquet file another type, name or content; any other file a flip."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if content[:4] != b"PAR1":
        return _flip(content, draw)
    try:
        table = pq.read_table(io.BytesIO(content))
        at = draw.randrange(table.num_columns)
        name, n = table.column_names[at], table.num_rows
        value = draw.choice(_COLUMNS)
        column = pa.array([value] * n) if n else pa.array([value])[:0]
        changed = table.set_column(at, draw.choice((name, name, name, "", "model")), column)
        changed = changed if draw.random() < 0.8 else table.remove_column(at)
        changed = changed if draw.random() < 0.9 else table[:0]
        written = io.BytesIO()
        pq.write_table(changed, written, compression=draw.choice(("none", "snappy", "zstd")))
    except Exception:  # it was damaged already
        return _flip_near_the_end(content, draw)
    return written.getvalue()


_COLUMNS: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        2**62,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\0",
        "\u202e",
        b"\xff",
    ),
    *([1], [[]], {"a": 1}, [{"a": None}], "1", "nan", "9" * 400),
)


def _place(content: bytes, draw: random.Random) -> int:
    return draw.randrange(len(content) + 1)


def _written(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _toml(value: Any) -> bytes:
    import tomli_w

    return tomli_w.dumps(value).encode("utf-8", "surrogatepass")


_DOCUMENTS: tuple[tuple[Callable[[bytes], Any], Callable[[Any], bytes]], ...] = (
    (json.loads, _json),
    (lambda content: tomllib.loads(content.decode()), _toml),
)
_WAYS = (
    *(_flip, _flip_near_the_end, _cut, _remove, _insert, _repeat, _swap_a_word, _swap_a_cell),
    *(_swap_lines, _restructure, _restructure, _restructure, _swap_a_word, _retype, _retype),
)
