"""Read a YAML file from anyone's hands: bounded, and with plain values only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, TraceError
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    from gpucv.traces.sources import Source

__all__ = ["LARGEST_FILE", "MOST_VALUES", "load_document"]

LARGEST_FILE = 1 << 21
"""Bytes; the real files have some 45,000."""
MOST_VALUES = 100_000
"""Values and keys; the real files have some 3,000, and a second reads 20,000."""
_FLOAT = re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
"""``1e-05`` is a number in YAML 1.2, which Go reads and writes, and text in YAML 1.1."""


def load_document(source: Source) -> dict[Any, Any]:
    """Return the mapping a YAML file holds.

    References to other nodes are counted with what they stand for, since with them a
    short file could be any amount of data. Keys that stand twice are refused, since one
    of the two would be lost without a word.

    Raises
    ------
    TraceError
        If the file is empty, too large, not YAML, or no mapping.
    EnvironmentFaultError
        If it cannot be read.
    """
    import yaml

    text = _read(source)
    try:
        document = yaml.load(text, _loader())  # a SafeLoader with fewer liberties
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        msg = f"{source.name}{line}: {one_line(error.problem or error.context or 'not YAML')}"
        raise TraceError(msg) from error
    except (yaml.YAMLError, ValueError) as error:
        msg = f"{source.name} is not YAML: {one_line(error)}"
        raise TraceError(msg) from error
    except RecursionError as error:
        msg = f"{source.name} is nested too deep to be read; it should have some four levels"
        raise TraceError(msg) from error
    if not isinstance(document, dict):
        found = one_line(repr(document), 60) if document is not None else "nothing"
        msg = f"{source.name} holds {found}, not a mapping of keys such as models"
        raise TraceError(msg)
    return document


def _read(source: Source) -> str:
    try:
        with source.path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        msg = f"cannot read {source.name}: {error.strerror}"
        raise EnvironmentFaultError(msg) from error
    if len(content) > LARGEST_FILE:
        msg = (
            f"{source.name} is larger than {LARGEST_FILE >> 20} MiB; a defaults.yaml has some "
            "45 KB: name that file"
        )
        raise TraceError(msg)
    if not content:
        msg = f"{source.name} is empty (0 bytes); copy it again"
        raise TraceError(msg)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{source.name} is not UTF-8 text (byte {error.start}); copy it again"
        raise TraceError(msg) from error


def _loader() -> Any:
    """Return a ``yaml.SafeLoader`` class that counts values and refuses repeated keys."""
    import yaml

    class PlainLoader(yaml.SafeLoader):
        def __init__(self, text: str) -> None:
            super().__init__(text)
            self.values = 0
            self.sizes: dict[int, int] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            before = self.values
            self.values += 1
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent) and event.anchor in self.anchors:
                # A node being read has no size yet: it refers to itself.
                known = self.sizes.get(id(self.anchors[event.anchor]), MOST_VALUES)
                self.values += known
            if self.values > MOST_VALUES:
                problem = (
                    f"more than {MOST_VALUES:,} values, counting what references (*) stand for"
                )
                raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
            node = super().compose_node(parent, index)
            self.sizes[id(node)] = self.values - before
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[Any] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    problem = f"key {one_line(repr(key.value), 60)} stands twice; remove one"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep=deep)

    PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    return PlainLoader
