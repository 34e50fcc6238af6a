"""Options several commands share: one spelling, one help text each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gpucv.errors import StudyError

__all__ = [
    "ExecutionOptions",
    "OutputOptions",
    "RunOptions",
    "StudyFile",
    "StudyOptions",
    "Track",
    "override",
    "switch",
]


def switch(told: str, name: str | list[str] | None = None) -> Parameter:
    """Return the parameter of an on/off option that is off unless given."""
    return Parameter(name=name, negative="", show_default=False, help=told)


def override(example: str, of: str = "") -> Parameter:
    """Return the parameter ``--set`` of keys of the study, or of some sections of it."""
    told = f"Override one key{f' of {of}' if of else ''}: {example}. Repeatable."
    return Parameter(
        name="--set", negative="", show_default=False, consume_multiple=False, help=told
    )


StudyFile = Annotated[Path, Parameter(help="The study: a TOML file.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """Where folds run: nothing that changes a result."""

    device: Annotated[
        str | None,
        Parameter(help="Where folds train: auto, cpu, cuda or cuda:N (one GPU alone)."),
    ] = None
    scheduler: Annotated[
        str | None,
        Parameter(help="Running Dask scheduler: address or file; '' for this machine alone."),
    ] = None
    tls: Annotated[
        Path | None,
        Parameter(help="What gpucv certificate made for that scheduler, if it is tls://."),
    ] = None
    exchange: Annotated[
        str | None,
        Parameter(help="Folder or URL shared with workers that do not see the run folder."),
    ] = None

    def overrides(self) -> tuple[str, ...]:
        """Return these options as ``key=value`` overrides."""
        from gpucv.machine import expanded

        device = [] if self.device is None else [f"execution.device={self.device}"]
        scheduler = [] if self.scheduler is None else [f"execution.scheduler={self.scheduler!r}"]
        # Written down whole: a run may be resumed from another folder.
        pem = [] if self.tls is None else [str(expanded(self.tls).absolute())]
        tls = [f"execution.tls.{part}={file!r}" for file in pem for part in ("ca", "cert", "key")]
        exchange = [] if self.exchange is None else [f"execution.exchange={self.exchange!r}"]
        return (*device, *scheduler, *tls, *exchange)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class StudyOptions(ExecutionOptions):
    """What may be laid over a study from the command line."""

    set_: Annotated[tuple[str, ...], override("predictors.0.params.max_depth=4")] = ()
    limit: Annotated[
        int | None,
        Parameter(help="Trial run: only the first N steps of every experiment."),
    ] = None

    def overrides(self) -> tuple[str, ...]:
        """Return all ``key=value`` overrides, those with an option of their own last."""
        return (*self.set_, *ExecutionOptions.overrides(self))

    def checked_limit(self) -> int | None:
        """Return the limit, if it leaves anything.

        Raises
        ------
        StudyError
            If it is below 1.
        """
        if self.limit is not None and self.limit < 1:
            msg = f"--limit {self.limit}: keep at least 1 step of every experiment"
            raise StudyError(msg)
        return self.limit


Track = Annotated[
    Literal["mlflow"] | None,
    Parameter(help="Log the finished run there, too; MLFLOW_TRACKING_URI says where."),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run goes, or whether it is only planned."""

    out: Annotated[Path | None, Parameter(help="The run folder; by default under runs/.")] = None
    dry_run: Annotated[bool, switch("Print the plan; train nothing.")] = False
    track: Track = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How a command speaks."""

    json: Annotated[bool, switch("Print one JSON object on stdout.")] = False
    quiet: Annotated[
        bool,
        Parameter(
            name=["--quiet", "-q"],
            negative="",
            show_default=False,
            help="No progress and no notes.",
        ),
    ] = False
