"""Whether CUDA and XGBoost work here, tried once per process in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpucv.machine.device import Device

__all__ = ["Probe", "probe"]

_PROGRAM = Path(__file__).with_name("probe_program.py")
_STEPS = {
    "cuda": ("driver", "memory", "xgboost", "train-cuda"),
    "cpu": ("xgboost", "train-cpu"),
}
# Generous: drivers without persistence start GPUs one by one, and code built for an older
# GPU is compiled when first run.
_SECONDS = 300

_DOING = {
    "driver": "starting the CUDA driver",
    "memory": "taking memory of a GPU",
    "xgboost": "importing XGBoost",
    "train-cuda": "training on the GPU",
    "train-cpu": "training on the CPU",
}
_MENDS = {
    2: "end the programs that hold its memory (nvidia-smi lists them)",
    34: "take the folder named stubs out of LD_LIBRARY_PATH: its libcuda is only for linking",
    46: "another process has the GPU to itself: end it, or as root run `nvidia-smi -c DEFAULT`",
    100: "look at CUDA_VISIBLE_DEVICES and at who may open /dev/nvidia*",
    214: "the GPU's memory is faulty: reset it or take another",
    802: "start the fabric manager: systemctl start nvidia-fabricmanager",
    803: "the driver was changed under its running module: restart the machine",
    804: "take the folder of cuda-compat out of LD_LIBRARY_PATH",
    999: "load the driver's memory module (modprobe nvidia_uvm), or restart the machine",
}
"""What to do about an error of the CUDA driver, by its number in ``cuda.h``."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the program `gpucv.machine.probe_program` found.

    Attributes
    ----------
    steps : dict of str to dict
        What each step that worked told: ``driver`` (``cuda``, ``devices``), ``memory``,
        ``xgboost`` (``version``, ``cuda``: the version it was built with, empty without),
        ``train-cuda`` or ``train-cpu`` (``device``).
    fault, mend : str
        Why the device cannot be used and what to do; "" where it can.
    """

    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    fault: str = ""
    mend: str = ""


def probe(device: Device) -> Probe:
    """Try `device` once; later calls return the same answer.

    Another ``CUDA_VISIBLE_DEVICES`` is another question.
    """
    return _probe(device, os.environ.get("CUDA_VISIBLE_DEVICES"))


@cache
def _probe(device: Device, shown: str | None) -> Probe:
    """Run the program; `shown` is part of the question, for the program reads it itself."""
    steps = _STEPS[device]
    # -P: a module in this folder or the current one must not pass for a library.
    command = [sys.executable, "-P", str(_PROGRAM), *steps]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        ended = f"had not ended after {_SECONDS} s"
    except OSError as error:
        return Probe({}, f"{command[0]} cannot be started: {error.strerror}", "look at its path")
    else:
        output = done.stdout
        ended = _ending(done.returncode, done.stderr)
    return _judge(steps, _read(output), ended)


def _read(output: bytes) -> dict[str, dict[str, Any]]:
    """Return what each step told; a line cut off by a crash counts as none."""
    found = {}
    for line in output.decode(errors="replace").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        found[str(told.pop("step"))] = told
    return found


def _ending(code: int, errors: bytes) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    last = errors.decode(errors="replace").strip().rpartition("\n")[2]
    return f"ended with code {code}{': ' if last else ''}{last[:200]}"


def _judge(steps: tuple[str, ...], found: dict[str, dict[str, Any]], ended: str) -> Probe:
    worked = {step: told for step, told in found.items() if "error" not in told}
    for step in steps:
        fault, mend = _fault(step, found.get(step), ended)
        if fault:
            return Probe(worked, fault, mend or _advice(worked))
    return Probe(worked)


def _fault(step: str, told: dict[str, Any] | None, ended: str) -> tuple[str, str]:
    """Return why a step failed and what to do; two empty strings if it did not."""
    if told is None:
        return f"a test process {ended} while {_DOING[step]}", ""
    if "error" in told:
        if step == "driver" and told["code"] is None:
            return (
                f"the CUDA driver cannot be loaded: {told['error']}",
                "install the driver's CUDA part; start a container with --gpus all and "
                "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            )
        mend = _MENDS.get(told["code"], "")
        return f"{_DOING[step]} failed: {told['error']}", mend
    if step == "train-cuda" and not told["device"].startswith("cuda"):
        warned = f": {told['warned'][0]}" if told["warned"] else ""
        return f"XGBoost asked for the GPU trained on the {told['device']}{warned}", ""
    return "", ""


def _advice(worked: dict[str, dict[str, Any]]) -> str:
    """Return what to do where the step itself does not tell: ask whether versions fit."""
    built = worked.get("xgboost", {}).get("cuda")
    driver = worked.get("driver", {}).get("cuda")
    if "xgboost" in worked and not built:
        return "this XGBoost is built without CUDA: install gpucv[cuda12] or gpucv[cuda13]"
    if built and driver and built[0] > driver[0]:
        return (
            f"XGBoost is built for CUDA {built[0]}.{built[1]}, the driver takes up to "
            f"{driver[0]}.{driver[1]}: update the driver or install gpucv[cuda{driver[0]}]"
        )
    if "xgboost" not in worked:
        return "install XGBoost again in a fresh environment"
    return "run `nvidia-smi` and `gpucv doctor`"
