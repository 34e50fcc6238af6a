"""Formats are named in several places; here they are held together."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from gpucv import schema
from gpucv.cli import import_
from gpucv.study.config import FormatName
from gpucv.traces import FORMATS
from gpucv.traces.formats.base import arrow_schema

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"
GROUPS = [column.name for column in schema.GROUP_COLUMNS]


def test_a_study_may_name_every_format_and_two_ways_of_its_own() -> None:
    assert set(get_args(FormatName)) == {"auto", "table", *FORMATS}


def test_the_import_command_takes_every_format_and_tells_of_each() -> None:
    assert set(get_args(import_.FormatName)) == {*FORMATS, "csv"}
    told = import_.import_.__doc__ or ""
    assert [name for name in FORMATS if f"{name}:" not in told] == []


@pytest.mark.parametrize("name", FORMATS)
def test_the_page_on_formats_has_every_column(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = f"`gpucv import {name}`"
    assert shown in page
    steps = {column.name for column in schema.STEP_COLUMNS}
    told = {*steps} if FORMATS[name].kind == "steps" else set()
    missing = [
        column.name
        for column in FORMATS[name].columns
        if column.name not in told and f"| `{column.name}` | {column.unit} |" not in page
    ]
    assert missing == []


@pytest.mark.parametrize("name", FORMATS)
def test_column_names_are_distinct_and_types_known(name: str) -> None:
    names = arrow_schema(FORMATS[name].columns).names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [n for n, each in FORMATS.items() if each.kind != "steps"])
def test_measurements_have_the_groups_everybody_has(name: str) -> None:
    names = [column.name for column in FORMATS[name].columns]
    assert [group for group in GROUPS if group not in names] == []
