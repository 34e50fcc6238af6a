"""The configurations rows come from: model, GPU, tensor-parallel degree, engine version."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import DataError
from gpucv.schema import ENGINE_VERSION, GPU, MODEL, TP

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog

__all__ = ["Configuration", "aliases_of", "configurations_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """One configuration and its rows.

    Attributes
    ----------
    model, gpu : str
        As the catalog calls them, where it knows them.
    tp : int
    engine_version : str
        "" where it is not known.
    names : tuple of str
        What the model goes by.
    rows : ndarray of intp
        Ascending.
    """

    model: str
    gpu: str
    tp: int
    engine_version: str
    names: tuple[str, ...]
    rows: NDArray[np.intp]

    @property
    def id(self) -> str:
        """The artifact's name: ``<model>/<gpu>/tp<degree>`` and the engine's version if known."""
        version = f"/{self.engine_version}" if self.engine_version else ""
        return f"{self.model}/{self.gpu}/tp{self.tp}{version}"


def configurations_of(frame: pd.DataFrame, catalog: Catalog) -> list[Configuration]:
    """Return the configurations of some rows, sorted by their ids.

    Raises
    ------
    DataError
        If the rows do not say which they belong to.
    """
    for column in (MODEL, GPU, TP):
        if column not in frame.columns or frame[column].isna().any():
            value = "4" if column == TP else '"..."'
            where = "no" if column not in frame.columns else "rows without a"
            msg = (
                f"the data has {where} {column!r}, and artifacts are one per model, GPU and tensor-"
                f"parallel degree; add it, or data.constants.{column} = {value}, and run again"
            )
            raise DataError(msg)
    columns = [MODEL, GPU, TP]
    columns += [ENGINE_VERSION] if ENGINE_VERSION in frame.columns else []
    found = []
    groups = frame.groupby(columns, observed=True, sort=True, dropna=False).indices
    for key, rows in groups.items():
        label, gpu, tp, *version = key if isinstance(key, tuple) else (key,)
        spec, unit = catalog.models.find(str(label)), catalog.gpus.find(str(gpu))
        named = str(version[0]) if version and isinstance(version[0], str) else ""
        found.append(
            Configuration(
                model=spec.name if spec else str(label).strip().lower(),
                gpu=unit.name if unit else str(gpu).strip().lower(),
                tp=int(tp),
                engine_version=named,
                names=tuple(dict.fromkeys([*(spec.known_names if spec else ()), str(label)])),
                rows=np.sort(rows),
            )
        )
    found.sort(key=lambda each: each.id)
    same = [one.id for one, other in pairwise(found) if one.id == other.id]
    if same:
        msg = f"two configurations of the data are called {same[0]!r}; give one another name"
        raise DataError(msg)
    return found


def aliases_of(configuration: Configuration, others: list[Configuration]) -> tuple[str, ...]:
    """Return the names a configuration is found by beside its id.

    A model's own names are, unless another configuration is of that model too; then each
    stands with what tells them apart.
    """
    alone = sum(each.model == configuration.model for each in others) == 1
    suffix = configuration.id.removeprefix(configuration.model)
    names = [name if alone else f"{name}{suffix}" for name in configuration.names]
    return tuple(name for name in dict.fromkeys(names) if name != configuration.id)
