"""``gpucv doctor``: what this machine has, and what is wrong with it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from gpucv.cli.options import OutputOptions

if TYPE_CHECKING:
    from gpucv.machine import Check

__all__ = ["doctor"]

_WIDTH = 80


def doctor(*, output: OutputOptions = OutputOptions()) -> int:
    """Check this machine for runs on its CPU and GPUs, and say what to do about each fault.

    Tries XGBoost, and the GPUs if there are any, in a process of its own; changes nothing.
    Exits with 4 if there is a fault. What it prints is made for a bug report.

    Examples
    --------
    gpucv doctor
    gpucv doctor --json > machine.json
    """
    from dataclasses import asdict

    from gpucv.cli.output import print_json
    from gpucv.errors import EnvironmentFaultError
    from gpucv.machine import describe_machine, examine, resolve_device

    machine, checks = describe_machine(), examine()
    try:
        device = resolve_device("auto")
        machine["device"] = {"auto": device.device, "reason": device.reason}
    except EnvironmentFaultError as error:
        machine["device"] = {"auto": None, "reason": str(error)}
    if output.json:
        print_json({"checks": [asdict(check) for check in checks], **machine})
    else:
        _print_report(machine, checks)
    return 4 if any(check.level == "fault" for check in checks) else 0


def _print_report(machine: dict[str, Any], checks: tuple[Check, ...]) -> None:
    from collections import Counter

    width = max(len(check.name) for check in checks)
    for check in checks:
        head = f"{check.level:<6}{check.name:<{width}}  "
        print(_wrapped(head, check.told))
        if check.mend:
            print(_wrapped(" " * len(head) + "-> ", check.mend))
    print()
    device = machine["device"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items())
    print(_wrapped("host     ", f"{machine['host']} ({machine['system']})"))
    print(_wrapped("versions ", versions))
    print(_wrapped("device   ", f"{device['auto'] or 'none'} ({device['reason']})"))
    count = Counter(check.level for check in checks)
    print(f"checks   {count['ok']} ok, {count['warn']} to know, {count['fault']} to mend")


def _wrapped(head: str, text: str) -> str:
    """Return `text` after `head`, further lines below its beginning."""
    from gpucv.cli.visible import visible

    return textwrap.fill(
        visible(text),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
