"""``gpucv doctor``: what this machine has, and what is wrong with it."""

from __future__ import annotations

from gpucv.cli.options import OutputOptions

__all__ = ["doctor"]


def doctor(*, output: OutputOptions = OutputOptions()) -> int:
    """Print versions, cores, memory, GPUs and the device a run would use.

    Exits with 4 if no run can start here.
    """
    from gpucv.cli.output import print_json
    from gpucv.errors import EnvironmentFaultError
    from gpucv.machine import describe_machine, resolve_device

    machine = describe_machine()
    fault = ""
    try:
        device = resolve_device("auto")
        machine["device"] = {"auto": device.device, "reason": device.reason}
    except EnvironmentFaultError as error:
        fault = str(error)
        machine["device"] = {"auto": None, "reason": fault}
    if output.json:
        print_json(machine)
        return 4 if fault else 0
    memory = machine["memory_bytes"]
    print(f"host     {machine['host']} ({machine['system']})")
    print(f"cpu      {machine['cpu']}, {machine['cores']} cores usable")
    print(f"memory   {memory / 2**30:.1f} GiB" if memory else "memory   unknown")
    print(f"gpus     {'; '.join(machine['gpus']) or 'none'}")
    print(f"device   {machine['device']['auto'] or 'none'} ({machine['device']['reason']})")
    print("versions " + ", ".join(f"{name} {v}" for name, v in machine["versions"].items()))
    return 4 if fault else 0
