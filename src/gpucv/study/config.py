"""A study, typed: what to run, with every key, its type, its bounds and its default.

One TOML file becomes one frozen `Study`. Unknown keys are errors. Options exist
here and nowhere else: everything below takes these objects.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from gpucv.catalog import GpuSpec
from gpucv.schema import DURATION_US, EXPERIMENT, STEP_ID, STUDY_SCHEMA
from gpucv.study.execution import ExecutionSpec
from gpucv.study.predictor import PredictorSpec
from gpucv.study.scheme import SchemeSpec
from gpucv.study.section import Name, Section, Value

__all__ = [
    "CatalogSpec",
    "DataSpec",
    "FeatureSpec",
    "FormatName",
    "ModelEntry",
    "Study",
    "ValidationSpec",
    "VerdictSpec",
]

FormatName = Literal[
    "auto",
    "table",
    "otel",
    "otel-batches",
    "otel-requests",
    "vidur",
    "splitwise",
    "aiconfigurator",
    "blis",
    "llm-d",
    "fpm",
]


class DataSpec(Section):
    """Which rows to learn from, and which column is the measured time.

    Attributes
    ----------
    steps : tuple of str
        Files, folders or globs in any mix of parquet, CSV and OTLP recordings, or files
        of one other format; relative ones are looked for beside the study file, then in
        the current folder.
    format : str
        What the files are: ``auto`` tells by their names and first bytes, ``table`` reads
        parquet and CSV files as they stand, others are those of ``gpucv import``.
    repeats : {"keep", "median"}
        Repeated measurements, in formats that have them: each a row, or one median row.
    where : dict
        Rows to learn from: column = value, or a list of values (``op = "mlp_up_proj"``).
    sample : int
        At most so many rows, drawn at random by the study's seed; 0 takes all.
    target : str
        The column predicted; its unit is that of the column. ``step.cycle_us`` and
        ``step.schedule_us`` are derived from the steps' clock.
    experiment, order_by : str
        The column that names a recording, and the one that orders rows within it.
    bad_rows : {"stop", "drop"}
        Rows with a missing, non-finite or negative target, or a repeated
        (experiment, order_by) key: end the run, or leave them out and count them.
    below_floor : {"keep", "drop"}
        Rows whose target is less than physics allows: keep them (the audit counts
        them), or leave them out and count them.
    audit : {"stop", "warn", "off"}
        What a failed audit of the target does: end the run before anything is trained,
        or warn and go on. "off" does not look.
    constants : dict
        Columns the data lacks, with the one value they have everywhere
        (``gpu = "h100"``).
    """

    steps: tuple[str, ...] = ()
    format: FormatName = "auto"
    repeats: Literal["keep", "median"] = "keep"
    where: dict[Name, Value | tuple[Value, ...]] = Field(default_factory=dict)
    sample: int = Field(default=0, ge=0)
    target: Name = DURATION_US
    experiment: Name = EXPERIMENT
    order_by: Name = STEP_ID
    bad_rows: Literal["stop", "drop"] = "stop"
    below_floor: Literal["keep", "drop"] = "keep"
    audit: Literal["stop", "warn", "off"] = "stop"
    constants: dict[str, str | int | float] = Field(default_factory=dict)


class FeatureSpec(Section):
    """A named feature set, numeric columns of the data as they are, or both.

    Attributes
    ----------
    set : str
        ``physics-30`` is the published study's, ``transfer`` has no scale, "" is none.
    columns : tuple of str
        Numeric columns of the data; naming columns alone means those columns alone.
    """

    set: Literal["physics-30", "transfer", ""] = "physics-30"
    columns: tuple[Name, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _columns_alone_mean_no_set(cls, raw: Any) -> Any:
        columns = raw.get("columns") if isinstance(raw, dict) else None
        if not isinstance(columns, list):
            return raw
        alone = {"set": ""} if columns else {}
        # Behind a validator all input counts as Python's, whose strict arrays are tuples.
        return {**alone, **raw, "columns": tuple(columns)}

    @model_validator(mode="after")
    def _columns_must_be_distinct(self) -> Self:
        repeated = sorted({c for c in self.columns if self.columns.count(c) > 1})
        if repeated:
            msg = f"columns named twice: {', '.join(repeated)}"
            raise ValueError(msg)
        if not self.set and not self.columns:
            msg = "names no feature: give set = 'physics-30' or columns"
            raise ValueError(msg)
        return self


class ValidationSpec(Section):
    """Which of the rows not held out watch the fit instead of feeding it.

    Attributes
    ----------
    fraction : float
        Share of the training rows; ``int(n * fraction)`` rows.
    order : {"experiment", "time", "group"}
        "experiment": the last rows in (experiment, step) order, as published, so
        in effect other experiments. "time": the tail of every experiment.
        "group": whole groups of column `group`, drawn by the study's seed.
    group : str
        The column whose groups ``order = "group"`` keeps whole.
    early_stopping_rounds : int
        Stop when the validation error has not fallen for so many rounds; 0 never
        stops (the published protocol).
    evaluate : {"auto", "end", "curve", "early_stop"}
        When errors are looked at. "end": once, of the whole predictor. "curve": of up to 100
        of its rounds as well, on validation and held-out rows, after training; no tree and
        no prediction changes. "early_stop": of validation rows, each round, to stop early.
        "auto" is "early_stop" where `early_stopping_rounds` is above 0, else "end".
    """

    fraction: float = Field(default=0.25, ge=0, lt=1)
    order: Literal["experiment", "time", "group"] = "experiment"
    group: Name = EXPERIMENT
    early_stopping_rounds: int = Field(default=0, ge=0, le=1_000_000)
    evaluate: Literal["auto", "end", "curve", "early_stop"] = "auto"

    @property
    def curve(self) -> bool:
        """Whether errors are wanted round by round."""
        return self.evaluate == "curve"

    @model_validator(mode="after")
    def _early_stopping_needs_rows(self) -> Self:
        if self.early_stopping_rounds and not self.fraction:
            msg = "early_stopping_rounds needs a fraction above 0"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _must_agree_on_when_to_look(self) -> Self:
        stopping = self.early_stopping_rounds
        if self.evaluate == "early_stop" and not stopping:
            msg = (
                "evaluate 'early_stop' needs early_stopping_rounds above 0: after how many to stop"
            )
            raise ValueError(msg)
        if self.evaluate in ("end", "curve") and stopping:
            msg = (
                f"evaluate {self.evaluate!r} looks at errors after training, and "
                f"early_stopping_rounds = {stopping} during it; use evaluate = 'early_stop', or "
                "early_stopping_rounds = 0"
            )
            raise ValueError(msg)
        return self

    @model_serializer(mode="wrap")
    def _unsaid_where_it_follows(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out all but "curve", which alone adds something: earlier keys stay theirs."""
        said: dict[str, Any] = serialise(self)
        if not self.curve:
            said.pop("evaluate", None)
        return said


class VerdictSpec(Section):
    """Thresholds in percent MAPE.

    Supported if every fold is below `mape_max`, strongly below `mape_strong`;
    partially if every scheme's average is below `mape_partial`.
    """

    mape_max: float = Field(default=25.0, gt=0)
    mape_strong: float = Field(default=20.0, gt=0)
    mape_partial: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _strong_must_be_stricter(self) -> Self:
        if self.mape_strong > self.mape_max:
            msg = f"mape_strong {self.mape_strong} is above mape_max {self.mape_max}; lower it"
            raise ValueError(msg)
        return self


class ModelEntry(Section):
    """An LLM the built-in catalog lacks: its ``config.json``, or the fields themselves."""

    name: Name
    config: str = ""
    aliases: tuple[str, ...] = ()
    hidden_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    intermediate_size: int | None = None
    num_local_experts: int | None = None
    num_experts_per_tok: int | None = None
    vocab_size: int | None = None
    gated_mlp: bool | None = None


class CatalogSpec(Section):
    """LLMs and GPUs added to the built-in catalog, or replacing its entries."""

    models: tuple[ModelEntry, ...] = ()
    gpus: tuple[GpuSpec, ...] = ()


class Study(Section):
    """What to run: one study file, checked.

    Attributes
    ----------
    schema : int
        Version of the file's format.
    name : str
        Shown in every output; part of the run folder's name.
    seed : int
        Decides every draw: rows sampled, splits, boosters.
    """

    schema_version: Annotated[int, Field(alias="schema")] = STUDY_SCHEMA
    name: Name = "study"
    seed: int = Field(default=42, ge=0, lt=2**31)
    data: DataSpec = DataSpec()
    features: FeatureSpec = FeatureSpec()
    validation: ValidationSpec = ValidationSpec()
    schemes: tuple[SchemeSpec, ...] = (
        SchemeSpec(name="lomo", hold_out="model"),
        SchemeSpec(name="lowo", hold_out="workload"),
    )
    predictors: tuple[PredictorSpec, ...] = (PredictorSpec(),)
    verdict: VerdictSpec = VerdictSpec()
    execution: ExecutionSpec = ExecutionSpec()
    catalog: CatalogSpec = CatalogSpec()

    @model_validator(mode="after")
    def _must_be_whole(self) -> Self:
        if self.schema_version != STUDY_SCHEMA:
            msg = f"schema {self.schema_version} is not known; this version reads {STUDY_SCHEMA}"
            raise ValueError(msg)
        if not self.schemes:
            msg = "schemes is empty: name at least one"
            raise ValueError(msg)
        if not self.predictors:
            msg = "predictors is empty: name at least one"
            raise ValueError(msg)
        if self.data.target in self.features.columns:
            msg = f"features.columns holds the target {self.data.target!r}, which would leak"
            raise ValueError(msg)
        _must_be_distinct("schemes", [scheme.name for scheme in self.schemes], "name")
        titles = [f"{p.title} ({p.transform})" for p in self.predictors]
        _must_be_distinct("predictors", titles, "label")
        return self


def _must_be_distinct(section: str, names: list[str], key: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"{section} named twice: {', '.join(repeated)}; give each a {key} of its own"
        raise ValueError(msg)
