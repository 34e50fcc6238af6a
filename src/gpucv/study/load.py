"""Read a study file, lay overrides over it, and say what is wrong with it, key by key."""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from gpucv.catalog import Catalog, ModelSpec, load_catalog, model_from_config_json
from gpucv.errors import StudyError, clipped, nearest, shown
from gpucv.study.config import ModelEntry, Study
from gpucv.study.sweep import Origin, swept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "LoadedStudy",
    "deciding_settings",
    "fingerprint",
    "load_study",
    "study_from_dict",
    "study_to_toml",
]

_SIZE_LIMIT = 1_000_000
_MOST_FAULTS = 20
_LISTS = ("schemes", "predictors")
_UNION_MEMBERS = {"str", "int", "float", "bool", "constrained-str"}


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study, the folder its relative paths start from, and its catalog."""

    study: Study
    base: Path
    catalog: Catalog


def load_study(path: Path | str, overrides: tuple[str, ...] = ()) -> LoadedStudy:
    """Read the study file at `path`, with ``key=value`` overrides laid over it.

    Parameters
    ----------
    path : Path or str
        TOML file of at most 1 MB.
    overrides : tuple of str
        ``"predictors.0.params.max_depth=4"``: a dotted key and a TOML value (bare
        words count as strings).

    Raises
    ------
    StudyError
        If the file cannot be read or any key is wrong; all faults are listed.
    """
    path = Path(path)
    return study_from_dict(
        _parse(path), base=path.resolve().parent, overrides=overrides, source=str(path)
    )


def study_from_dict(
    raw: dict[str, Any], *, base: Path, overrides: tuple[str, ...] = (), source: str = "study"
) -> LoadedStudy:
    """Check a study given as nested dicts; see `load_study`."""
    origins: list[Origin] = []
    try:
        raw = copy.deepcopy(raw)
        for override in overrides:
            _apply(raw, override)
        if isinstance(raw.get("predictors"), list | tuple):
            raw["predictors"], origins = _written_out(raw["predictors"], source)
        # JSON's strict mode knows tuples from lists and so accepts what TOML gives.
        study = Study.model_validate_json(json.dumps(raw, default=_as_text))
    except ValidationError as error:
        # A union reports each member it is not: keep the first word on every key.
        located = [(_place(fault["loc"], origins), fault) for fault in error.errors()[::-1]]
        faults = {_key_path(place): _explain(fault, place) for place, fault in located}
        msg = f"{source}: {_listed(list(faults.values())[::-1])}"
        raise StudyError(msg) from error
    except RecursionError as error:
        msg = f"{source}: is nested too deeply to be a study"
        raise StudyError(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"{source}: holds a value that no key accepts: {error}"
        raise StudyError(msg) from error
    models = [_model(entry, base) for entry in study.catalog.models]
    return LoadedStudy(
        study=_with_architectures(study, models),
        base=base,
        catalog=load_catalog(models, study.catalog.gpus),
    )


def study_to_toml(study: Study) -> str:
    """Return `study` as TOML with every key written out."""
    import tomli_w

    return tomli_w.dumps(_without_none(study.model_dump(mode="json", by_alias=True)))


def fingerprint(study: Study) -> str:
    """Return 16 hex digits naming everything in `study` that can change a result.

    Paths, how they are read and which of their rows are taken, the name, the verdict's
    thresholds and the execution are left out: the rows have a hash of their own, and none
    of the others touches a prediction.
    """
    what = deciding_settings(study.model_dump(mode="json", by_alias=True))
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def deciding_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a study's settings, as nested dicts, that `fingerprint` looks at."""
    kept = {k: v for k, v in settings.items() if k not in ("name", "verdict", "execution")}
    no_number = ("steps", "format", "repeats", "where", "sample", "below_floor", "audit")
    kept["data"] = {k: v for k, v in kept["data"].items() if k not in no_number}
    return kept


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot read the study {shown(str(path))}: {reason}{_sibling(path, error)}"
        raise StudyError(msg) from error
    if len(data) > _SIZE_LIMIT:
        msg = f"{path} is too large for a study file, which has at most {_SIZE_LIMIT:,} bytes"
        raise StudyError(msg)
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError as error:
        msg = f"{path}: is nested too deeply to be a study"
        raise StudyError(msg) from error
    except ValueError as error:
        msg = f"{path} is not a TOML file: {error}"
        raise StudyError(msg) from error


def _sibling(path: Path, error: Exception) -> str:
    """Return which file of the same folder may have been meant, if none has that name."""
    if not isinstance(error, FileNotFoundError):
        return ""
    try:
        beside = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return ""
    studies = [name for name in beside if name.endswith(".toml")]
    return nearest(path.name, studies) or nearest(path.name, beside)


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one dotted key; a number names a place in an array of tables."""
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        msg = f"--set {shown(override)} is not of the form key.path=value"
        raise StudyError(msg)
    if parts[0] in _LISTS and len(parts) > 1:
        # predictors.0.params.max_depth=4 means the default predictor where none is named
        defaults = getattr(Study(), parts[0])
        raw.setdefault(parts[0], [each.model_dump(exclude_defaults=True) for each in defaults])
    place: Any = raw
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        where = ".".join(parts[: depth + 1])
        if isinstance(place, list):
            if part not in map(str, range(len(place))):
                held = f"{clipped(where)} is not one of the {len(place)} entries there"
                msg = f"--set {shown(override)}: {held}"
                raise StudyError(msg)
            if last:
                place[int(part)] = _value(text)
            else:
                place = place[int(part)]
        elif isinstance(place, dict):
            if last:
                place[part] = _value(text)
            else:
                place = place.setdefault(part, {})
        else:
            msg = f"--set {shown(override)}: {clipped(where)} lies inside a plain value"
            raise StudyError(msg)


def _value(text: str) -> Any:
    """Read `text` as one TOML value; what is none is a bare word."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _as_text(value: Any) -> str:
    """Write what TOML has and JSON has not: an unquoted date, say as a study's name."""
    if isinstance(value, date | time | PurePath):
        return str(value)
    msg = f"{shown(value)} is a {type(value).__name__}"
    raise TypeError(msg)


def _written_out(predictors: Sequence[Any], source: str) -> tuple[list[Any], list[Origin]]:
    """Write sweeps out; their faults name the file as all others do."""
    try:
        return swept(predictors)
    except StudyError as error:
        msg = f"{source}: {error}"
        raise StudyError(msg) from error


def _place(loc: tuple[int | str, ...], origins: Sequence[Origin]) -> tuple[int | str, ...]:
    """Return where the file says what stands at `loc` once sweeps are written out."""
    if len(loc) < 2 or loc[0] != "predictors" or not isinstance(loc[1], int):
        return loc
    return origins[loc[1]].place(loc[2:])


def _explain(fault: Any, place: tuple[int | str, ...]) -> str:
    """Turn one of pydantic's faults into a sentence with the key path and a hint."""
    *section, last = fault["loc"] or [""]
    if fault["type"] == "extra_forbidden":
        path = ".".join(map(str, place))
        return f"unknown key {shown(path)}{nearest(str(last), _keys_at(section))}"
    path = clipped(_key_path(place))
    message = fault["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = fault["input"]
    found = "" if isinstance(value, dict | list) else f", found {shown(value)}"
    return f"{path}: {message}{found}" if path else message


def _key_path(loc: tuple[int | str, ...]) -> str:
    """Write a location as a dotted key, without the names pydantic gives union members."""
    named = (str(part) for part in loc if part not in _UNION_MEMBERS)
    return ".".join(part for part in named if not part.startswith("tuple["))


def _listed(faults: Sequence[str]) -> str:
    """Join faults into one line; of hundreds the first ones tell what is wrong."""
    more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
    return "; ".join(faults[:_MOST_FAULTS]) + more


def _keys_at(loc: Sequence[int | str]) -> list[str]:
    """Return the keys the section at `loc` has."""
    section: type[BaseModel] = Study
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return [field.alias or name for name, field in section.model_fields.items()]


def _model(entry: ModelEntry, base: Path) -> ModelSpec:
    fields = entry.model_dump(exclude={"name", "config", "aliases"}, exclude_none=True)
    if entry.config and fields:
        msg = f"catalog.models: {entry.name!r} has both config and {', '.join(fields)}; give one"
        raise StudyError(msg)
    if entry.config:
        return model_from_config_json(entry.name, base / entry.config, entry.aliases)
    fields.setdefault("num_key_value_heads", fields.get("num_attention_heads"))
    try:
        return ModelSpec(name=entry.name, aliases=entry.aliases, **fields)
    except ValidationError as error:
        faults = "; ".join(_explain(fault, fault["loc"]) for fault in error.errors())
        msg = f"catalog.models: {entry.name!r}: {faults}"
        raise StudyError(msg) from error


def _with_architectures(study: Study, models: Sequence[ModelSpec]) -> Study:
    """Write the fields found in a ``config.json`` into the study.

    The study then stands for itself: it can be moved, and its fingerprint covers them.
    """
    entries = tuple(
        ModelEntry(**spec.model_dump(exclude={"hf_repo"})) if entry.config else entry
        for entry, spec in zip(study.catalog.models, models, strict=True)
    )
    catalog = study.catalog.model_copy(update={"models": entries})
    return study.model_copy(update={"catalog": catalog})


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
