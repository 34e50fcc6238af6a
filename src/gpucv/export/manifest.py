"""What stands in an artifact set's ``manifest.json``, key by key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpucv.errors import DataError, shown
from gpucv.export.program import INPUTS, Program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ARTIFACT_SCHEMA",
    "KIND",
    "MOST_FEATURES",
    "ArtifactEntry",
    "Blackbox",
    "Dropped",
    "FeatureEntry",
    "FileEntry",
    "GoldenEntry",
    "HeldOut",
    "Manifest",
    "ModelFiles",
    "StudyEntry",
    "parse_manifest",
]

ARTIFACT_SCHEMA = 1
"""Version of an artifact set and every file in it."""
KIND = "gpucv-steptime"
MOST_FEATURES = 127
"""Of one artifact: what a reader that packs a comparison into eight bytes can name."""

Text = Annotated[str, Field(max_length=1000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    """Strict of type, frozen; keys of later versions of this schema are passed over."""

    model_config = ConfigDict(
        extra="ignore", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=True
    )


class FileEntry(_Entry):
    """A file of the set: where it lies, its size and its SHA-256."""

    path: Text
    bytes: int = Field(ge=0)
    sha256: Sha256


class ModelFiles(_Entry):
    """The trees, twice: JSON for any reader, UBJ for XGBoost where the set is one's own."""

    json_: FileEntry = Field(alias="json")
    ubj: FileEntry


class GoldenEntry(_Entry):
    """Rows with the answers every reader must give."""

    path: Text
    rows: int = Field(ge=1)
    sha256: Sha256


class FeatureEntry(_Entry):
    """One column the trees compare.

    Attributes
    ----------
    version : str
        8 hex digits of its formula.
    register : int
        Where the program leaves it.
    undefined : float or None
        What a value that is not finite as float32 becomes; None is NaN.
    missing : bool
        Whether rows learnt from had none.
    range : tuple of float or None
        Least and largest value of the rows learnt from; None where none had one.
    monotone : int
        1 where the time never falls as it rises.
    """

    name: Text
    unit: Text
    available: Literal["sim-available", "metadata"]
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    register_: int = Field(alias="register", ge=0)
    undefined: float | None
    missing: bool = False
    range: tuple[float, float] | None
    monotone: Literal[-1, 0, 1] = 0


class Blackbox(_Entry):
    """``max(1, b0 + b1 * prefill tokens + b2 * decode tokens)`` us, as BLIS has it.

    `mape` is over rows it did not see: each fifth of the steps by the others' fit, percent.
    """

    beta_us: tuple[float, float, float]
    mape: float | None


class HeldOut(_Entry):
    """What the run scored on this configuration's rows of one fold, in percent."""

    scheme: Text
    holdout: Text
    n: int = Field(ge=1)
    mape: float | None
    mspe: float | None
    wape: float | None


class Dropped(_Entry):
    """What export left out of the run's predictor, and each scheme's mean MAPE before and after.

    `mape_before` and `mape_after` are the means over the scheme's folds, percent.
    """

    features: tuple[Text, ...] = ()
    trees: int = 0
    mape_before: dict[Text, float | None] = {}
    mape_after: dict[Text, float | None] = {}


class StudyEntry(_Entry):
    """The study the set comes from."""

    name: Text
    fingerprint: Text


class ArtifactEntry(_Entry):
    """One predictor of one configuration; docs/artifacts.md has every key."""

    id: Text
    number: int = Field(ge=1)
    aliases: tuple[Text, ...] = ()
    model: Text
    gpu: Text
    tp: int = Field(ge=1)
    engine_version: Text = ""
    target: Text
    unit: Literal["us"] = "us"
    predictor: Text
    params: dict[str, Any] = {}
    rows: int = Field(ge=1)
    trees: int = Field(ge=0)
    depth: int = Field(ge=0)
    program: dict[str, Any]
    features: tuple[FeatureEntry, ...] = Field(min_length=1, max_length=MOST_FEATURES)
    transform: Literal["raw", "log", "utilisation", "ratio"]
    reference: int | None = Field(ge=0)
    floor_us: float | None
    smearing: float
    base_score: float
    model_files: ModelFiles
    golden: GoldenEntry
    blackbox: Blackbox | None
    held_out: tuple[HeldOut, ...] = ()
    dropped: Dropped | None = None

    def checked_program(self) -> Program:
        """Return the program, with every register the artifact names inside it.

        Raises
        ------
        DataError
            If it is not.
        """
        try:
            program = Program.from_json(self.program)
        except DataError as error:
            msg = f"artifact {self.id!r}: {error}"
            raise DataError(msg) from error
        named = [feature.register_ for feature in self.features]
        named += [] if self.reference is None else [self.reference]
        if max(named) >= len(program):
            msg = f"artifact {self.id!r}: register {max(named)} is not in its program"
            raise DataError(msg)
        return program


class Manifest(_Entry):
    """``manifest.json``."""

    schema_version: int = Field(alias="schema")
    kind: Text
    gpucv: Text
    created: Text
    study: StudyEntry
    data_fingerprint: Text
    synthetic: bool
    inputs: tuple[Text, ...]
    artifacts: tuple[ArtifactEntry, ...] = Field(min_length=1)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain data, as `parse_manifest` reads it."""
        return self.model_dump(mode="json", by_alias=True)


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """Read a manifest from anyone's hands.

    Raises
    ------
    DataError
        If it is damaged, of another kind, or of a later version.
    """
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not JSON: {str(error)[:200]}; get the set again"
        raise DataError(msg) from error
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        found = raw.get("kind") if isinstance(raw, dict) else raw
        msg = f"{path} is of kind {shown(found)}, not {KIND!r}; name an artifact set"
        raise DataError(msg)
    if raw.get("schema") != ARTIFACT_SCHEMA:
        msg = (
            f"{path} is of schema {shown(raw.get('schema'))}; this version reads "
            f"{ARTIFACT_SCHEMA}; use the gpucv that wrote it"
        )
        raise DataError(msg)
    try:
        manifest = Manifest.model_validate_json(content)
    except (ValidationError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {_first_fault(error)}; get the set again") from error
    if manifest.inputs != INPUTS:
        msg = f"{path}: inputs are {shown(manifest.inputs)}; this version knows {INPUTS}"
        raise DataError(msg)
    ids = [entry.id for entry in manifest.artifacts]
    if len(set(ids)) < len(ids) or len({e.number for e in manifest.artifacts}) < len(ids):
        msg = f"{path}: two artifacts have one id or number; get the set again"
        raise DataError(msg)
    return manifest


def _first_fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error).split("\n", 1)[0][:200]
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    found = "" if isinstance(fault["input"], dict | list) else f", found {shown(fault['input'])}"
    return f"{place}: {fault['msg'].lower()}{found}"
