"""Look up LLMs and GPUs by any name a recording gives them.

The built-in facts stand in ``models.toml``, ``gpus.toml`` and ``dtypes.toml``; a study
adds or replaces models and GPUs inline, or models from a Hugging Face ``config.json``.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError

from gpucv.catalog.entries import CatalogEntry, DtypeSpec, GpuSpec, ModelSpec
from gpucv.errors import DataError, StudyError, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Catalog", "NameIndex", "load_catalog", "model_from_config_json"]

Entry = TypeVar("Entry", bound=CatalogEntry)


def _key(name: str) -> str:
    """Fold a name for look-up: no organisation, no case."""
    return name.strip().rsplit("/", 1)[-1].casefold()


class NameIndex(Generic[Entry]):
    """Entries found by name or alias, later entries replacing earlier ones.

    An entry with the name of an earlier one also takes over that one's aliases, so
    that no recording finds the old facts under another spelling.
    """

    def __init__(self, kind: str, entries: Iterable[Entry]) -> None:
        self._kind = kind
        self._by_key: dict[str, Entry] = {}
        for entry in entries:
            name = _key(entry.name)
            inherited = [key for key, old in self._by_key.items() if _key(old.name) == name]
            for key in (*inherited, *map(_key, entry.known_names)):
                self._by_key[key] = entry

    def find(self, name: str) -> Entry | None:
        """Return the entry called `name` (any alias, any case), or None."""
        return self._by_key.get(_key(name))

    def get(self, name: str) -> Entry:
        """Return the entry called `name`.

        Raises
        ------
        DataError
            If nothing of that name is known; the message says how to add it.
        """
        entry = self.find(name)
        if entry is None:
            hint = nearest(_key(name), self._by_key)
            msg = (
                f"unknown {self._kind} {shown(name)}{hint}; add it to the study as "
                f"[[catalog.{self._kind}s]]"
                + (" (config = 'path/to/config.json')" if self._kind == "model" else "")
            )
            raise DataError(msg)
        return entry

    def entries(self) -> tuple[Entry, ...]:
        """Return each entry once, in order of definition."""
        return tuple({id(entry): entry for entry in self._by_key.values()}.values())


@dataclass(frozen=True, slots=True)
class Catalog:
    """The LLMs, GPUs and number formats a run knows."""

    models: NameIndex[ModelSpec]
    gpus: NameIndex[GpuSpec]
    dtypes: NameIndex[DtypeSpec]


def load_catalog(
    extra_models: Iterable[ModelSpec] = (), extra_gpus: Iterable[GpuSpec] = ()
) -> Catalog:
    """Return the built-in catalog with `extra_models` and `extra_gpus` laid over it."""
    models = [ModelSpec(**entry) for entry in _builtin("models")]
    gpus = [GpuSpec(**entry) for entry in _builtin("gpus")]
    return Catalog(
        models=NameIndex("model", [*models, *extra_models]),
        gpus=NameIndex("gpu", [*gpus, *extra_gpus]),
        dtypes=NameIndex("dtype", [DtypeSpec(**entry) for entry in _builtin("dtypes")]),
    )


def model_from_config_json(name: str, path: Path, aliases: tuple[str, ...] = ()) -> ModelSpec:
    """Read one LLM's architecture from its Hugging Face ``config.json``.

    Raises
    ------
    StudyError
        If the file cannot be read, is not JSON, or lacks a field.
    """
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"model {name!r}: cannot read {path}: {error.strerror}"
        raise StudyError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"model {name!r}: {path} is not a JSON file: {error}"
        raise StudyError(msg) from error
    if not isinstance(config, dict):
        msg = f"model {name!r}: {path} holds a {type(config).__name__}, not a config.json object"
        raise StudyError(msg)
    known = {field: config[field] for field in _CONFIG_FIELDS if config.get(field) is not None}
    known.setdefault("num_key_value_heads", known.get("num_attention_heads"))
    try:
        return ModelSpec(name=name, aliases=aliases, **known)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        msg = f"model {name!r}: {path} does not describe an architecture: {faults}"
        raise StudyError(msg) from error


_CONFIG_FIELDS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "num_local_experts",
    "num_experts_per_tok",
    "vocab_size",
)


def _builtin(kind: str) -> list[dict[str, Any]]:
    text = resources.files("gpucv.catalog").joinpath(f"{kind}.toml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)[kind]
    return entries
