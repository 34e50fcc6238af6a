"""Models that run the same shapes under different names.

Llama-2-70B, Llama-3-70B and CodeLlama-34B have the same attention layer: holding one of
them out while another is learned from tests a shape that was seen. Tables of operators
say so by their own widths; tables of steps by the catalog's architectures.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import MODEL, OP
from gpucv.traces.audit.groupwise import starts_of
from gpucv.traces.audit.result import Finding

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from numpy.typing import NDArray

    from gpucv.catalog import ModelSpec
    from gpucv.traces.audit.subject import Subject

__all__ = ["same_shapes"]

WIDTHS = (
    ("n", "k"),
    ("num_heads", "num_kv_heads", "head_dim"),
    ("num_heads", "num_key_value_heads", "head_dim"),
    ("hidden_size", "intermediate_size"),
)
"""Columns that a model fixes: of a row, the first set without a missing value.

The others change with the batch. Heads are the widths of attention alone: operators whose
name does not speak of it are passed on to the next set.
"""
_ATTENTION = re.compile(r"^(?!.*norm).*att")
_ADVICE = (
    "holding one out while another is learned from tests shapes already seen; hold them out "
    "together to test a new shape"
)


def same_shapes(subject: Subject) -> list[Finding]:
    """Find models of the table that share an attention or MLP shape, or an operator's widths."""
    if MODEL not in subject or len(subject.codes(MODEL)[1]) < 2:
        return []
    by_width = not subject.is_steps and any(_has(subject, names) for names in WIDTHS)
    shared = _by_width(subject) if by_width else _by_spec(subject)
    if not shared:
        return []
    told = "; ".join(f"{', '.join(each['models'])} ({each['what']})" for each in shared[:6])
    more = f"; and {len(shared) - 6} more" if len(shared) > 6 else ""
    message = f"models of the same shapes: {told}{more}; {_ADVICE}"
    return [Finding("same_shapes", "info", message, {"groups": shared})]


def _by_spec(subject: Subject) -> list[dict[str, Any]]:
    """Return sets of models with equal attention, or equal attention and MLP, layers."""
    specs = [subject.catalog.models.find(str(name)) for name in subject.codes(MODEL)[1]]
    known = list({spec.name: spec for spec in specs if spec is not None}.values())
    attention = _alike(known, _attention)
    mlp = _alike(known, _mlp)
    found = [
        {"models": models, "what": "attention and MLP" if models in mlp else "attention"}
        for models in attention
    ]
    return found + [{"models": each, "what": "MLP"} for each in mlp if each not in attention]


def _attention(spec: ModelSpec) -> tuple[int, ...]:
    return (spec.hidden_size, spec.num_attention_heads, spec.num_key_value_heads)


def _mlp(spec: ModelSpec) -> tuple[int, ...]:
    return (spec.hidden_size, spec.intermediate_size, spec.gated_mlp, spec.num_local_experts)


def _alike(specs: list[ModelSpec], shape: Any) -> list[list[str]]:
    groups: dict[Hashable, list[str]] = {}
    for spec in specs:
        groups.setdefault(shape(spec), []).append(spec.name)
    return [sorted(names) for names in groups.values() if len(names) > 1]


def _has(subject: Subject, names: tuple[str, ...]) -> bool:
    return all(name in subject for name in names)


def _by_width(subject: Subject) -> list[dict[str, Any]]:
    """Return sets of models whose rows of one operator have equal widths."""
    model = subject.codes(MODEL)[0].astype(np.int64)
    left = model >= 0
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for names in WIDTHS:
        if not _has(subject, names):
            continue
        rows = left.copy()
        for name in names:
            rows &= subject.codes(name)[0] >= 0
        if "num_heads" in names and OP in subject:
            codes, ops = subject.codes(OP)
            # A row without an operator has the code -1: the last entry.
            rows &= np.array([*(bool(_ATTENTION.match(str(op))) for op in ops), True])[codes]
        left &= ~rows
        for sharing, what in _shared(subject, names, np.flatnonzero(rows)):
            found.setdefault(sharing, {})[what] = None
    return [{"models": list(models), "what": ", ".join(ops)} for models, ops in found.items()]


def _shared(
    subject: Subject, names: tuple[str, ...], rows: NDArray[np.int64]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the models of each shape that more than one has, and its operator."""
    by_op = (OP,) if OP in subject else ()
    codes, models = subject.codes(MODEL)
    shape = subject.key((*by_op, *names))[rows]
    cells, first = np.unique(shape * len(models) + codes[rows], return_index=True)
    shapes, at = cells // len(models), rows[first]
    for begin, end in pairwise([*starts_of(shapes).tolist(), len(shapes)]):
        if end - begin > 1:
            sharing = sorted(subject.shown(models[codes[row]]) for row in at[begin:end])
            op = " x ".join(names)
            if by_op and subject.codes(OP)[0][at[begin]] >= 0:
                op = subject.shown(subject.codes(OP)[1][subject.codes(OP)[0][at[begin]]])
            yield tuple(sharing), op
