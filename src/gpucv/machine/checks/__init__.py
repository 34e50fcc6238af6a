"""What is wrong with this machine, and what to do: the checks of ``gpucv doctor``."""

from gpucv.machine.checks.check import Check, Level
from gpucv.machine.checks.gpu import gpu_checks
from gpucv.machine.checks.host import host_checks
from gpucv.machine.checks.packages import package_checks

__all__ = ["Check", "Level", "examine"]


def examine() -> tuple[Check, ...]:
    """Look at everything a run needs; nothing here changes anything."""
    return (*host_checks(), *package_checks(), *gpu_checks())
