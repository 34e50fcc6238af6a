"""Rows of coefficients, checked one by one, and what BLIS would make of them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from gpucv.errors import TraceError, nearest, shown
from gpucv.schema import ENGINE, ENGINE_VERSION, GPU, GROUP_COLUMNS, MODEL, TP, Column
from gpucv.traces.names import catalog_name
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.catalog import Catalog

__all__ = ["COLUMNS", "FOR_ALL", "Sets"]

_ALPHAS, _BETAS = 3, 11
_OF_ENTRIES = {"blackbox": range(3, 4), "trained-physics": range(7, 12)}
"""How many betas an entry of the list has, by form."""
FOR_ALL = {
    "trained_physics_coefficients": ("trained-physics", range(7, 12)),
    "trained_roofline_defaults": ("trained-roofline", range(7, 8)),
    "crossmodel_defaults": ("crossmodel", range(4, 5)),
}
"""Sets for all LLMs, by key: their form, and how many betas they have."""

COLUMNS = (
    *GROUP_COLUMNS,
    Column("model_id", "string", "label", "the LLM as BLIS looks it up, in lower case"),
    Column("hf_repo", "string", "label", "its repository, where the file names it"),
    Column("engine_image", "string", "label", "its image, as in the file"),
    Column("form", "string", "label", "which formula the coefficients belong to"),
    *(Column(f"alpha_{i}", "float64", "us", "overhead outside steps") for i in range(_ALPHAS)),
    *(
        Column(f"beta_{i}", "float64", "us or 1", "term of a step; its unit depends on the form")
        for i in range(_BETAS)
    ),
    Column("best_loss", "float64", "1", "what calibration was left with; BLIS does not use it"),
    Column("total_kv_blocks", "int64", "blocks", "KV-cache blocks, in files before v0.7.6"),
    Column("duplicate", "int64", "0 or 1", "1: an earlier entry has the key, and is used"),
    Column("extra", "string", "JSON", "fields of other names"),
)

_KNOWN = {
    "id",
    "GPU",
    "tensor_parallelism",
    "vllm_version",
    "alpha_coeffs",
    "beta_coeffs",
    "best_loss",
    "total_kv_blocks",
}
_TAG = re.compile(r"(?:^|:)v?(\d[\w.+-]*)$")
_SHORTEST_STEP_US = 100.0
"""A step reads all weights: 1 GB of them, on the fastest GPUs, takes longer."""


class Sets:
    """Sets of coefficients being gathered from one file, a row each.

    Parameters
    ----------
    name : str
        The file, as messages call it.
    catalog : Catalog
    repositories : mapping of str to str
        Repository of each LLM, by its name in lower case.
    """

    def __init__(self, name: str, catalog: Catalog, repositories: Mapping[str, str]) -> None:
        self.rows: list[dict[str, Any]] = []
        self._name = name
        self._catalog = catalog
        self._repositories = repositories
        self._keys: dict[tuple[Any, ...], int] = {}
        self._contradictions = 0

    def add_entry(self, place: str, entry: Any) -> None:
        """Take in one entry of the list, with its key."""
        row, count = self._alphas_and_betas(place, entry)
        form = next((form for form, counts in _OF_ENTRIES.items() if count in counts), None)
        if form is None:
            self._refuse(
                place, f"beta_coeffs has {count} values; blackbox has 3, trained physics 7 to 11"
            )
        identity = self._text(place, entry, "id").lower()
        image = self._text(place, entry, "vllm_version")
        gpu = self._text(place, entry, "GPU")
        tp = self._whole(place, entry, "tensor_parallelism", least=1)
        tag = _TAG.search(image.partition("@")[0])
        first = self._keys.setdefault((identity, tp, gpu, image), len(self.rows))
        row |= {
            MODEL: catalog_name(self._catalog.models, identity),
            "model_id": identity,
            "hf_repo": self._repositories.get(identity),
            GPU: catalog_name(self._catalog.gpus, gpu),
            TP: tp,
            ENGINE: "vllm",
            ENGINE_VERSION: tag and tag[1],
            "engine_image": image,
            "form": form,
            "best_loss": self._optional(place, entry, "best_loss"),
            "duplicate": int(first != len(self.rows)),
            "extra": _other_fields(entry, _KNOWN),
        }
        if row["duplicate"]:
            self._contradictions += _coefficients(row) != _coefficients(self.rows[first])
        if entry.get("total_kv_blocks") is not None:
            row["total_kv_blocks"] = self._whole(place, entry, "total_kv_blocks", least=0)
        self.rows.append(row)

    def add_set(self, key: str, value: Any) -> None:
        """Take in a set of coefficients for all LLMs."""
        form, counts = FOR_ALL[key]
        row, count = self._alphas_and_betas(key, value)
        if count not in counts:
            told = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
            self._refuse(key, f"beta_coeffs has {count} values; {form} has {told}")
        extra = _other_fields(value, {"alpha_coeffs", "beta_coeffs"})
        self.rows.append(row | {"form": form, "duplicate": 0, "extra": extra})

    def notes(self) -> tuple[Note, ...]:
        """Return what BLIS would pass over or refuse, and coefficients of doubtful size."""
        notes = []
        repeats = [row for row in self.rows if row["duplicate"]]
        if repeats:
            first = repeats[0]
            message = (
                f"{self._name}: {len(repeats)} of {len(self.rows)} entries repeat the key of an "
                f"earlier one, {self._contradictions} of them with other coefficients (first: "
                f"{one_line(first['model_id'])}, {first[TP]} x {first[GPU]}, "
                f"{one_line(first['engine_image'])}); BLIS takes the earlier one, so their column "
                "duplicate is 1"
            )
            notes.append(Note("duplicate_entries", message, len(repeats), "warning"))
        negative = sum(min(_coefficients(row)) < 0 for row in self.rows)
        if negative:
            message = f"{self._name}: {negative} entries have coefficients below 0, BLIS takes none"
            notes.append(Note("negative_coefficients", message, negative, "warning"))
        steps = sorted(row["beta_0"] for row in self.rows if row["form"] == "blackbox")
        # A fit may well put one or two at 0, so this is a note, and only on many.
        if len(steps) >= 3 and steps[len(steps) // 2] < _SHORTEST_STEP_US:
            message = (
                f"{self._name}: half of the {len(steps)} blackbox entries have a beta_0 below "
                f"{_SHORTEST_STEP_US:g} us, less than a GPU takes to read an LLM's weights; BLIS "
                "counts in us, these look like ms"
            )
            notes.append(Note("doubtful_unit", message, len(steps), "warning"))
        return tuple(notes)

    def _alphas_and_betas(self, place: str, entry: Any) -> tuple[dict[str, Any], int]:
        if not isinstance(entry, dict):
            self._refuse(place, f"{_told(entry)} is no map of coefficients")
        alphas = self._list(place, entry, "alpha_coeffs")
        betas = self._list(place, entry, "beta_coeffs")
        if len(alphas) != _ALPHAS:
            self._refuse(place, f"alpha_coeffs has {len(alphas)} values, not {_ALPHAS}")
        if len(betas) > _BETAS:
            self._refuse(place, f"beta_coeffs has {len(betas)} values, {_BETAS} at most")
        row: dict[str, Any] = {f"alpha_{i}": value for i, value in enumerate(alphas)}
        row |= {f"beta_{i}": value for i, value in enumerate(betas)}
        return row, len(betas)

    def _list(self, place: str, entry: dict[str, Any], key: str) -> list[float]:
        values = self._field(place, entry, key)
        if not isinstance(values, list):
            self._refuse(place, f"{key} is {_told(values)}, not a list of numbers")
        return [self._number(place, f"{key}[{at}]", value) for at, value in enumerate(values)]

    def _optional(self, place: str, entry: dict[str, Any], key: str) -> float | None:
        value = entry.get(key)
        return None if value is None else self._number(place, key, value)

    def _number(self, place: str, key: str, value: Any) -> float:
        if type(value) not in {int, float} or not abs(value) < 1e300:
            self._refuse(place, f"{key} is {_told(value)}, not a finite number")
        return float(value)

    def _whole(self, place: str, entry: dict[str, Any], key: str, *, least: int) -> int:
        value = self._field(place, entry, key)
        if type(value) is not int or not least <= value < 2**53:
            self._refuse(place, f"{key} is {_told(value)}, not a whole number from {least} up")
        return int(value)

    def _text(self, place: str, entry: dict[str, Any], key: str) -> str:
        value = self._field(place, entry, key)
        if not isinstance(value, str) or not value.strip():
            self._refuse(place, f"{key} is {_told(value)}, not a name")
        return str(value).strip()

    def _field(self, place: str, entry: dict[str, Any], key: str) -> Any:
        if key not in entry:
            self._refuse(place, f"no field {key!r}{nearest(key, map(str, entry))}")
        return entry[key]

    def _refuse(self, place: str, fault: str) -> NoReturn:
        msg = f"{self._name}, {place}: {fault}"
        raise TraceError(msg)


def _coefficients(row: dict[str, Any]) -> list[float]:
    return [value for name, value in row.items() if name.startswith(("alpha_", "beta_"))]


def _other_fields(entry: dict[Any, Any], known: set[str]) -> str | None:
    """Return the fields of other names as JSON text, None if there are none."""
    other = {str(key): value for key, value in entry.items() if key not in known}
    try:
        return json.dumps(other, default=str, skipkeys=True) if other else None
    except ValueError:  # a loop of aliases, or a number of more digits than Python writes
        return json.dumps(shown(other))


def _told(value: Any) -> str:
    return one_line(shown(value), 60)
