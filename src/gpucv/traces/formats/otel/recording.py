"""What a recording's folder says about it: model, workload, GPU, TP and failed requests.

A folder is named ``<date>-<time>-<model>-tp<N>-<workload>``, or
``<id>-<model>-tp<N>-<workload>-<variant>``, and holds ``traces.json``,
``exp-config.yaml`` and ``results/summary_lifecycle_metrics.json``. Where the name and
``exp-config.yaml`` differ, the latter is right: it is what the engine was started with.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, TraceError, shown
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note
from gpucv.traces.sources import TRACE_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces.sources import Source

__all__ = ["Recording", "describe_recording", "refuse_repeated_recordings"]

# The greedy model part makes this the last "-tp<N>-": workloads may have hyphens, and
# model slugs digits.
_NAME = re.compile(
    r"(?:(?:[0-9]{8}-[0-9]{6}|[0-9]+)-)?(?P<model>.+)-tp(?P<tp>[0-9]{1,4})-(?P<workload>.+)"
)
_LARGEST_SIDE_FILE = 1 << 24
"""Bytes; the real ones take a few kilobytes."""
_CONFIG = "exp-config.yaml"
_LIFECYCLE = "results/summary_lifecycle_metrics.json"


@dataclass(frozen=True, slots=True)
class Recording:
    """The labels that every step of one recording carries.

    Attributes
    ----------
    experiment_id : str
        The folder's name.
    gpu : str or None
        None where ``exp-config.yaml`` has no `gpu`; it is not guessed.
    tp : int
        Tensor-parallel degree.
    token_budget : int or None
        Most tokens of a step (`max_num_batched_tokens`), where ``exp-config.yaml`` says.
    """

    experiment_id: str
    model: str
    workload: str
    gpu: str | None
    tp: int
    notes: tuple[Note, ...]
    token_budget: int | None = None


def refuse_repeated_recordings(sources: Sequence[Source]) -> None:
    """Raise TraceError if two recordings have one name: their steps would be mixed up."""
    seen: dict[str, str] = {}
    for source in sources:
        if source.path.name != TRACE_FILE:
            continue
        name = source.path.parent.resolve().name
        if name in seen:
            msg = (
                f"experiment {name!r} is recorded twice, in {seen[name]} and {source.name}; "
                "leave one out or rename its folder"
            )
            raise TraceError(msg)
        seen[name] = source.name


def describe_recording(folder: Path, name: str, catalog: Catalog) -> Recording:
    """Return what the files beside a trace, and the folder's name, say about it.

    Raises
    ------
    TraceError
        If neither ``exp-config.yaml`` nor the folder's name gives the model, the
        tensor-parallel degree or the workload, or the config is damaged.
    """
    label = folder.resolve().name
    config = _config(folder / _CONFIG, name)
    match = _NAME.fullmatch(label)
    named = match.groupdict() if match else {}
    notes: list[Note] = []
    if config is None:
        message = f"{name}: no {_CONFIG}; model, TP and workload are taken from the folder's name"
        notes.append(Note("no_exp_config", message, 1, "warning"))
    config = config or {}
    slug = _slug(named["model"], catalog) if match else None
    tp_named = int(named["tp"]) if match else None
    model = _text(config, "model", name) or slug
    tp = _positive(config, "tensor_parallelism", name) or tp_named
    workload = _text(config, "workload", name) or named.get("workload")
    gpu = _text(config, "gpu", name)
    for what, value in (("model", model), ("tensor_parallelism", tp), ("workload", workload)):
        if value is None:
            msg = (
                f"{name}: no {what} in {_CONFIG}, nor in the folder name {one_line(label)!r}; "
                "name it <date>-<time>-<model>-tp<N>-<workload>, or add the key"
            )
            raise TraceError(msg)
    assert model is not None
    assert tp is not None
    assert workload is not None
    known, known_gpu = catalog.models.find(model), catalog.gpus.find(gpu) if gpu else None
    model = known.name if known else model
    if gpu is None:
        message = f"{name}: {_CONFIG} names no gpu; left empty"
        notes.append(Note("gpu_not_named", message, 1, "info"))
    notes += _disagreements(name, (slug, tp_named), (model, tp), catalog)
    notes += _failures(folder / _LIFECYCLE, name)
    gpu = known_gpu.name if known_gpu else gpu
    budget = _positive(config, "max_num_batched_tokens", name)
    return Recording(label, model, workload, gpu, tp, tuple(notes), budget)


def _slug(named: str, catalog: Catalog) -> str:
    """Return the model in a folder name, without an identifier of unknown form before it."""
    parts = named.split("-")
    for start in range(len(parts)):
        entry = catalog.models.find("-".join(parts[start:]))
        if entry is not None:
            return entry.name
    return named


def _side_file(path: Path) -> bytes | None:
    """Return the bytes of a small file beside the trace, or None where there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SIDE_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise EnvironmentFaultError(msg) from error
    if len(content) > _LARGEST_SIDE_FILE:
        msg = (
            f"{path} is larger than {_LARGEST_SIDE_FILE >> 20} MiB; it should be a small text file"
        )
        raise TraceError(msg)
    return content


def _config(path: Path, name: str) -> dict[str, Any] | None:
    import yaml

    content = _side_file(path)
    if content is None:
        return None
    try:
        config = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        msg = f"{name}: {_CONFIG} is no YAML: {one_line(error)}"
        raise TraceError(msg) from error
    if not isinstance(config, dict):
        msg = f"{name}: {_CONFIG} holds {type(config).__name__}, not keys and values"
        raise TraceError(msg)
    return config


def _text(config: dict[str, Any], key: str, name: str) -> str | None:
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        msg = f"{name}: {key} in {_CONFIG} is {shown(value)}, not a name"
        raise TraceError(msg)
    return value.strip()


def _positive(config: dict[str, Any], key: str, name: str) -> int | None:
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
        msg = f"{name}: {key} in {_CONFIG} is {shown(value)}, not a whole number above 0"
        raise TraceError(msg)
    return value


def _disagreements(
    name: str, named: tuple[str | None, int | None], used: tuple[str, int], catalog: Catalog
) -> list[Note]:
    """Note where the folder's name and the config differ in more than spelling."""
    notes = []
    (slug, tp_named), (model, tp) = named, used
    known = slug is not None and catalog.models.find(slug) is not None
    if known and slug != model:
        message = f"{name}: the folder says {slug}, {_CONFIG} {model}; the config is used"
        notes.append(Note("model_differs", message, 1, "warning"))
    if tp_named is not None and tp_named != tp:
        message = f"{name}: the folder says tp{tp_named}, {_CONFIG} {tp}; the config is used"
        notes.append(Note("tp_differs", message, 1, "warning"))
    return notes


def _failures(path: Path, name: str) -> list[Note]:
    """Warn of failed requests: an overloaded engine's steps are not those of a healthy one."""
    content = _side_file(path)
    if content is None:
        return []
    try:
        summary = json.loads(content)
        failed, succeeded = (int(summary[key]["count"]) for key in ("failures", "successes"))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        message = f"{name}: {_LIFECYCLE} cannot be read; overload is not known"
        return [Note("lifecycle_unreadable", message, 1, "warning")]
    if failed <= 0:
        return []
    share = failed / (failed + max(succeeded, 0))
    message = (
        f"{name}: {share:.1%} of requests failed ({failed:,} of {failed + succeeded:,}); "
        "the engine was overloaded"
    )
    return [Note("overload", message, failed, "warning")]
