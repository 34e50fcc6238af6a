"""One predictor of a study written as many: every combination of what its `sweep` lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from gpucv.errors import StudyError, shown
from gpucv.study.predictor import PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Origin", "swept"]

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a predictor of the written-out list stands in the study file.

    Attributes
    ----------
    position : int
        Of the predictor it was swept from.
    keys : frozenset of str
        What its sweep lists; empty for one written by hand.
    """

    position: int
    keys: frozenset[str] = frozenset()

    def place(self, inside: Sequence[int | str]) -> tuple[int | str, ...]:
        """Return where the file says `inside`, a location within this predictor."""
        swept_key = inside and inside[0] in self.keys
        return ("predictors", self.position, *(("sweep",) if swept_key else ()), *inside)


def swept(predictors: Sequence[Any]) -> tuple[list[Any], list[Origin]]:
    """Return the raw tables of ``[[predictors]]`` with every ``sweep`` written out.

    Parameters
    ----------
    predictors : sequence
        As read from the study file. ``sweep = { transform = ["raw", "log"], max_depth =
        [4, 6] }`` makes four: a name that is no key of a predictor is one of its
        parameters. Each gets a label that tells it apart, unless its transform does. Where
        transforms are swept, `baseline` and `smearing` go to those they belong to.

    Returns
    -------
    written : list
        In the order of the file; within a sweep the last list varies fastest.
    origins : list of Origin
        One for each.

    Raises
    ------
    StudyError
        If a sweep is no table of lists of distinct values, repeats what the predictor
        already says, or makes more than a thousand.
    """
    written: list[Any] = []
    origins: list[Origin] = []
    for position, raw in enumerate(predictors):
        if not isinstance(raw, dict) or "sweep" not in raw:
            written.append(raw)
            origins.append(Origin(position))
            continue
        variants = _variants(raw, f"predictors.{position}")
        written += variants
        origins += [Origin(position, frozenset(raw["sweep"]))] * len(variants)
    return written, origins


def _variants(raw: dict[str, Any], where: str) -> list[dict[str, Any]]:
    sweep = raw["sweep"]
    if not isinstance(sweep, dict) or not sweep:
        msg = f"{where}.sweep: must be a table of lists, found {shown(sweep)}"
        raise StudyError(msg)
    params = raw.get("params", {})
    if not isinstance(params, dict):
        msg = f"{where}.params: must be a table, found {shown(params)}"
        raise StudyError(msg)
    for key, values in sweep.items():
        _must_be_values(f"{where}.sweep.{key}", values)
        if key in raw or key in params or ("params" in sweep and key not in _KEYS):
            msg = f"{where}.sweep.{key}: the predictor already says {key}; say it in one place"
            raise StudyError(msg)
    size = prod(map(len, sweep.values()))
    if size > _MOST:
        msg = f"{where}.sweep: makes {size:,} predictors; at most {_MOST:,} are planned"
        raise StudyError(msg)
    base = {key: value for key, value in raw.items() if key != "sweep"}
    return [
        _variant(base, dict(zip(sweep, values, strict=True))) for values in product(*sweep.values())
    ]


_KEYS = frozenset(PredictorSpec.model_fields)


def _must_be_values(where: str, values: Any) -> None:
    """Refuse what is no list of values to try, each once."""
    if not isinstance(values, list | tuple) or not values:
        msg = f"{where}: must be a list of values to try, found {shown(values)}"
        raise StudyError(msg)
    told = [json.dumps(value, sort_keys=True, default=str) for value in values]
    twice = next((value for at, value in enumerate(values) if told[at] in told[:at]), None)
    if twice is not None:
        msg = f"{where}: lists {shown(twice)} twice; list each value once"
        raise StudyError(msg)


def _variant(base: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    keys = {key: value for key, value in chosen.items() if key in _KEYS}
    params = {key: value for key, value in chosen.items() if key not in _KEYS}
    made = {**base, **keys}
    if "transform" in keys:
        # A baseline is for ratios alone, smearing for all but the time itself.
        foreign = set() if made["transform"] == "ratio" else {"baseline", "baseline_params"}
        foreign |= {"smearing"} if made["transform"] == "raw" else set()
        made = {key: value for key, value in made.items() if key not in foreign - set(chosen)}
    if params:
        made["params"] = {**base.get("params", {}), **params}
    # The tables have a column for the transform, and the name begins the label.
    said = [
        f"{key}={_told(value)}"
        for key, value in chosen.items()
        if key not in ("transform", "name", "label")
    ]
    title = made.get("label") or made.get("name") or PredictorSpec.model_fields["name"].default
    if said and isinstance(title, str):  # what is no text is refused where it stands
        made["label"] = f"{title} {', '.join(said)}"
    return made


def _told(value: Any) -> str:
    """Write a value as a label shows it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_told(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return " x ".join(map(_told, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or "none"
