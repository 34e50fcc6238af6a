"""The NVIDIA GPUs this process would see, through NVML: no CUDA context is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpucv.machine.nvml import ABSENT, NvmlError, open_nvml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.machine.nvml import Handle, Nvml

__all__ = ["Driver", "Gpu", "count_gpus", "first_device", "read_driver", "visible_gpus"]

_SHOWN = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as NVML tells of it.

    Attributes
    ----------
    index : int
        Its ordinal among those ``CUDA_VISIBLE_DEVICES`` shows.
    uuid, name : str
    memory_bytes, free_bytes : int
        Memory of the board (of a MIG instance, its share), and what of it nobody had taken
        when asked; 0 where the driver does not tell.
    mig : bool
        Whether it is an instance of a board in MIG mode.
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int
    free_bytes: int
    mig: bool = False


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver, or why there is none.

    Attributes
    ----------
    version : str
        Like ``580.65.06``; "" where it does not answer.
    cuda : tuple of int
        The newest CUDA it supports, (major, minor).
    boards : int
        GPUs of the machine, those hidden from this process included.
    absent : bool
        Whether the machine has no driver at all, as one without an NVIDIA GPU.
    fault, mend : str
        Why it does not answer and what to do; "" where it does.
    """

    version: str = ""
    cuda: tuple[int, int] = (0, 0)
    boards: int = 0
    absent: bool = False
    fault: str = ""
    mend: str = ""


def read_driver() -> Driver:
    """Ask the driver what it is."""
    try:
        with open_nvml() as nvml:
            return Driver(nvml.driver_version(), nvml.cuda_version(), len(nvml.boards()))
    except NvmlError as error:
        return Driver(absent=error.code == ABSENT, fault=error.told, mend=error.mend)


def visible_gpus(environment: Mapping[str, str] | None = None) -> tuple[Gpu, ...]:
    """Return the GPUs a CUDA program started now would find, in its order.

    Indices mean the order of ``nvidia-smi``. On boards of unlike kinds CUDA may count
    fastest first unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; UUIDs are the same everywhere.

    Parameters
    ----------
    environment : mapping, optional
        Read instead of the process's own.
    """
    try:
        with open_nvml() as nvml:
            devices = _shown_devices(nvml, environment)
            return tuple(_describe(nvml, device, index) for index, device in enumerate(devices))
    except NvmlError:
        return ()


def count_gpus() -> int:
    """Return how many NVIDIA GPUs CUDA would find: those NVML sees and the environment shows."""
    return len(visible_gpus())


def first_device(nvml: Nvml) -> Handle | None:
    """Return the GPU that this process's ``device="cuda"`` is; None if it sees none.

    Raises
    ------
    NvmlError
    """
    return next(iter(_shown_devices(nvml, None)), None)


def _shown_devices(nvml: Nvml, environment: Mapping[str, str] | None) -> list[Handle]:
    """Return what ``CUDA_VISIBLE_DEVICES`` shows.

    CUDA reads the list up to the first entry that names no device, so ``-1`` and
    ``NoDevFiles`` hide all; the first entry says whether all are numbers, UUIDs (any
    beginning that only one board has) or MIG instances; and a device named twice hides
    all too (PyTorch's ``_parse_visible_devices`` follows the driver the same way).
    """
    shown = (os.environ if environment is None else environment).get(_SHOWN)
    boards = nvml.boards()
    if shown is None:
        chosen = list(range(len(boards)))
    elif shown.lstrip().startswith("MIG-"):
        return _instances(nvml, shown)
    else:
        uuids = [nvml.uuid(board) for board in boards]
        chosen = []
        by_uuid = shown.lstrip().startswith("GPU-")
        for entry in map(str.strip, shown.split(",")):
            number = _of_uuid(entry, uuids) if by_uuid else _of_index(entry, len(boards))
            if number is None:
                break
            chosen.append(number)
        if len(set(chosen)) < len(chosen):
            return []
    return [nvml.first_instance(boards[number]) or boards[number] for number in chosen]


def _of_index(entry: str, boards: int) -> int | None:
    return int(entry) if entry.isdecimal() and int(entry) < boards else None


def _of_uuid(entry: str, uuids: list[str]) -> int | None:
    if not entry.startswith("GPU-"):
        return None
    matches = [number for number, uuid in enumerate(uuids) if uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None


def _instances(nvml: Nvml, shown: str) -> list[Handle]:
    """Return the MIG instances named, up to the first that is not there."""
    entries = [entry.strip() for entry in shown.split(",")]
    found: list[Handle] = []
    for entry in entries:
        if not entry.startswith("MIG-"):
            break
        try:
            found.append(nvml.by_uuid(entry))
        except NvmlError:
            break
    return found if len(set(entries[: len(found)])) == len(found) else []


def _describe(nvml: Nvml, device: Handle, index: int) -> Gpu:
    uuid = nvml.uuid(device)
    try:
        total, free, _ = nvml.memory(device)
    except NvmlError:  # boards that share the host's memory do not tell
        total = free = 0
    return Gpu(index, uuid, nvml.name(device), total, free, mig=uuid.startswith("MIG-"))
