"""Facts about LLMs, GPUs and number formats, kept as TOML."""

from gpucv.catalog.catalog import Catalog, NameIndex, load_catalog, model_from_config_json
from gpucv.catalog.entries import CatalogEntry, DtypeSpec, GpuSpec, ModelSpec

__all__ = [
    "Catalog",
    "CatalogEntry",
    "DtypeSpec",
    "GpuSpec",
    "ModelSpec",
    "NameIndex",
    "load_catalog",
    "model_from_config_json",
]
