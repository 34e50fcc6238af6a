"""What keeps a run folder to itself: no path out of it, and a word where others can change it.

A run folder may come from somebody else, and may lie on a disk many people share.
"""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.runs.layout import RunLayout

__all__ = ["must_stay_inside", "warn_if_others_can_change"]

_log = logging.getLogger("gpucv.runs")


def must_stay_inside(layout: RunLayout, manifest: Mapping[str, Any]) -> None:
    """Refuse a run folder that leads out of itself.

    A link in it would be read, or a lock or a mark written, wherever it points.

    Raises
    ------
    RunError
        If its manifest names a file elsewhere, or what gpucv reads and writes there is a link.
    """
    for name in manifest["outputs"]:
        if not name or name != Path(name).name or name == "..":
            msg = f"{layout.manifest} names the file {shown(name)}, which is not in its folder"
            raise RunError(f"{msg}; do not use this run")
    own = [path for path in vars(layout).values() if path != layout.root]
    if layout.folds.is_dir() and not layout.folds.is_symlink():
        own += layout.folds.iterdir()
    for path in own:
        if path.is_symlink():
            msg = f"{path} is a link, and the files of a run lie in its folder; copy the file here"
            raise RunError(msg)


def warn_if_others_can_change(folder: Path) -> None:
    """Warn where every user of the machine can change what is in a folder, or put another there."""
    try:
        here, above = folder.stat().st_mode, folder.resolve().parent.stat().st_mode
    except OSError:
        return  # whoever writes to it is told
    replaceable = above & stat.S_IWOTH and not above & stat.S_ISVTX
    if here & stat.S_IWOTH or replaceable:
        _log.warning(
            "every user of this machine can change %s, and so the results in it; chmod o-w %s",
            folder,
            folder if here & stat.S_IWOTH else folder.resolve().parent,
        )
