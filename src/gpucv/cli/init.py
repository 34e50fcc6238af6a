"""``gpucv init``: a commented study file to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpucv.cli.options import switch
from gpucv.errors import StudyError

__all__ = ["init"]


def init(
    path: Annotated[Path, Parameter(help="Where to write it.")] = Path("study.toml"),
    *,
    force: Annotated[bool, switch("Replace a file that is there.")] = False,
) -> int:
    """Write a study file with every key, its default and what it means.

    Examples
    --------
    gpucv init
    gpucv init studies/h3.toml
    """
    from gpucv.cli.visible import visible
    from gpucv.runs import atomic_write

    if path.is_dir():
        path = path / "study.toml"
    if path.exists() and not force:
        msg = f"{path} exists; choose another name or use --force"
        raise StudyError(msg)
    template = resources.files("gpucv.study").joinpath("template.toml")
    atomic_write(path, template.read_text(encoding="utf-8"))
    print(visible(str(path)))
    return 0
