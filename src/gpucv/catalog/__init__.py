"""Facts about LLMs and GPUs, kept as TOML."""

from gpucv.catalog.catalog import Catalog, NameIndex, load_catalog, model_from_config_json
from gpucv.catalog.entries import GpuSpec, ModelSpec

__all__ = [
    "Catalog",
    "GpuSpec",
    "ModelSpec",
    "NameIndex",
    "load_catalog",
    "model_from_config_json",
]
