"""Which LLM and GPU a profile is of: its folders say, ``<gpu>/<organisation>/<model>/``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpucv.schema import GPU, MODEL
from gpucv.traces.names import catalog_name
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from gpucv.catalog import Catalog, GpuSpec, ModelSpec
    from gpucv.traces.sources import Source

__all__ = ["Profiled", "profiled"]

_ROOT = "compute"
"""What Vidur calls the folder above the GPUs."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """What a profile is of.

    Attributes
    ----------
    model, gpu : str or None
        By the catalog's name where it has one, else as the folder is called; None where
        no folder says.
    model_spec, gpu_spec : ModelSpec, GpuSpec or None
        What the catalog knows of them.
    """

    model: str | None
    gpu: str | None
    model_spec: ModelSpec | None
    gpu_spec: GpuSpec | None

    def notes(self, where: str) -> tuple[Note, ...]:
        """Return a warning for what the folders do not say or the catalog does not know."""
        notes = []
        missing = [name for name, label in ((MODEL, self.model), (GPU, self.gpu)) if label is None]
        if missing:
            message = (
                f"{where}: no folder says its {' and '.join(missing)}; keep it as "
                "<gpu>/<organisation>/<model>/, with a GPU of the catalog, or name what all rows "
                f"share as {' and '.join(f'data.constants.{name}' for name in missing)}"
            )
            notes.append(Note("label_missing", message, len(missing), "warning"))
        if self.gpu is not None and self.gpu_spec is None:
            message = (
                f"{where}: sol_us is empty, because the catalog has no GPU {self.gpu!r}; add it "
                "to the study as [[catalog.gpus]]"
            )
            notes.append(Note("no_speed_of_light", message, 1, "warning"))
        return tuple(notes)


def profiled(source: Source, catalog: Catalog) -> Profiled:
    """Return what the folders of a profile say.

    Any path has folders, so they are taken for labels only where one of them shows that
    this is Vidur's layout: a GPU of the catalog in its place, the organisation of one of
    the catalog's models, or ``compute`` above the GPU. The organisation may be left out.
    """
    # Links are not followed: their names may be what says the GPU.
    path = os.path.abspath(source.path)  # noqa: PTH100
    model, above, top, root = [*reversed(Path(path).parent.parts[1:]), "", "", "", ""][:4]
    for gpu, shown in (
        (top, catalog.gpus.find(top) is not None or root == _ROOT),
        (above, catalog.gpus.find(above) is not None or top == _ROOT),
        (top, above.casefold() in _organisations(catalog)),
    ):
        if gpu and shown:
            return _named(model, gpu, catalog)
    if catalog.gpus.find(model) is not None:
        return _named("", model, catalog)
    return _named("" if catalog.models.find(model) is None else model, "", catalog)


def _named(model: str, gpu: str, catalog: Catalog) -> Profiled:
    return Profiled(
        catalog_name(catalog.models, model) or None,
        catalog_name(catalog.gpus, gpu) or None,
        catalog.models.find(model),
        catalog.gpus.find(gpu),
    )


def _organisations(catalog: Catalog) -> set[str]:
    repos = (model.hf_repo for model in catalog.models.entries())
    return {repo.split("/")[0].casefold() for repo in repos if "/" in repo}
