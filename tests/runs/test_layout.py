from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import RunError
from gpucv.runs import atomic_write, read_json, to_json

if TYPE_CHECKING:
    from pathlib import Path


@given(st.dictionaries(st.text(), st.floats() | st.text() | st.integers() | st.none()))
def test_json_holds_what_was_written_and_null_for_what_json_lacks(value: dict[str, Any]) -> None:
    def no_constant(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    found = json.loads(to_json(value), parse_constant=no_constant)
    for key, item in value.items():
        odd = isinstance(item, float) and not math.isfinite(item)
        assert found[key] == (None if odd else item)


def test_a_path_that_is_no_text_survives_json(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a.json", to_json({"path": os.fsdecode(b"caf\xe9")}))
    assert os.fsencode(read_json(tmp_path / "a.json")["path"]) == b"caf\xe9"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; is this a run folder"),
        (b"{", "is this a run folder"),
        (b"\xff\xfe", "is this a run folder"),
        (b"[1]", "holds a list, not an object"),
        (b"[" * 100_000, "is this a run folder"),
    ],
)
def test_what_is_no_json_object_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        read_json(tmp_path / "a.json")
