"""What every section of a study file is: strict, frozen, and without unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

__all__ = ["Name", "Section", "Value"]

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Value = str | int | float | bool


class Section(BaseModel):
    """One table of a study file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
