"""Where folds run: device, processes, cluster. All but `training` changes speed alone."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gpucv.study.section import Section

__all__ = ["ExecutionSpec", "TlsSpec", "Training"]

Training = Literal["in-memory", "external-memory", "distributed"]
"""How one booster is trained; see `ExecutionSpec`."""

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


class TlsSpec(Section):
    """Certificates of a ``tls://`` scheduler, as paths; all three, or none.

    With none, Dask's own configuration is asked.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        missing = [name for name in ("ca", "cert", "key") if not getattr(self, name)]
        if missing and len(missing) < 3:
            msg = f"lacks {' and '.join(missing)}: name ca, cert and key, or none of them"
            raise ValueError(msg)
        return self


class ExecutionSpec(Section):
    """Where folds run. Nothing here but `training` changes a result.

    Attributes
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda`` (every GPU visible) or ``cuda:1`` (that one alone).
    backend : {"auto", "threads", "dask"}
        Threads of this process, or Dask worker processes; "auto" takes processes for
        more than one GPU or a scheduler, else threads.
    training : {"auto", "in-memory", "external-memory", "distributed"}
        One booster's rows: binned in the memory of one device, paged in from host memory
        or disk, or shared out over all GPUs (workers), folds in turn. "auto" takes the
        first that fits. The last two sketch the bins piece by piece, so trees may differ; of
        "distributed" they do with the number of workers, each of which draws its own rows where
        ``subsample`` is below 1. A result says which training it was, and of how many parts.
    workers : int
        Folds at once on CPUs; 0 picks one per core, at most one per fold.
    folds_per_gpu : int
        Folds at once on each GPU; 0 lets the planner say.
    threads_per_fold : int
        XGBoost threads of one fold; 0 shares the cores out.
    fold_timeout_s : float
        Seconds a fold may take; 0 is no limit. A Dask worker that takes longer is restarted,
        with whatever else runs on it, and the fold begun again, at most three times; a thread
        cannot be stopped, so there the run ends and can be resumed.
    scheduler : str
        A running Dask scheduler: its address (``tcp://``, ``tls://``) or the path of its
        scheduler file; implies ``backend = "dask"``.
    exchange : str
        Folder or URL (fsspec) that this process and the workers share, where the feature
        table is put for them and their results for this process; "" is the run folder.
    tls : TlsSpec
    """

    device: str = "auto"
    backend: Literal["auto", "threads", "dask"] = "auto"
    training: Literal["auto", "in-memory", "external-memory", "distributed"] = "auto"
    workers: int = Field(default=0, ge=0, le=4096)
    folds_per_gpu: int = Field(default=0, ge=0, le=64)
    threads_per_fold: int = Field(default=0, ge=0, le=4096)
    fold_timeout_s: float = Field(default=0, ge=0)
    scheduler: str = ""
    exchange: str = ""
    tls: TlsSpec = TlsSpec()

    @field_validator("device")
    @classmethod
    def _device_must_be_one(cls, device: str) -> str:
        if not _DEVICE.fullmatch(device):
            msg = "must be 'auto', 'cpu', 'cuda' or 'cuda:<number>'"
            raise ValueError(msg)
        return device

    @model_validator(mode="after")
    def _a_scheduler_means_dask(self) -> Self:
        if self.scheduler and self.backend == "threads":
            msg = "backend 'threads' does not go with a scheduler; use 'auto' or 'dask'"
            raise ValueError(msg)
        return self
