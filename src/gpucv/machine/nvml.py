"""NVML through ctypes: what the NVIDIA driver tells without a CUDA context.

The library comes with the driver, so nothing is installed for it. Names of functions and
codes are those of ``nvml.h``.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ABSENT", "Handle", "Nvml", "NvmlError", "open_nvml"]

Handle = ctypes.c_void_p
"""One board, or one MIG instance of a board."""

ABSENT = -1
_NO_FUNCTION = 13
_TEXT = 96  # bytes; the longest name or UUID NVML gives

_TOLD = {
    ABSENT: ("libnvidia-ml.so.1 cannot be loaded", "install the NVIDIA driver"),
    4: (
        "no permission to ask the NVIDIA driver",
        "make the /dev/nvidia* devices readable to this user",
    ),
    9: ("the NVIDIA driver is not loaded", "run `modprobe nvidia` as root, then `nvidia-smi`"),
    15: ("a GPU has fallen off its bus", "restart the machine"),
    18: (
        "the NVIDIA driver was updated while its old module runs",
        "restart the machine, or load the module again",
    ),
}


class NvmlError(Exception):
    """NVML refused a question."""

    def __init__(self, code: int, function: str = "") -> None:
        self.code = code
        told, mend = _TOLD.get(
            code, (f"the NVIDIA driver answers {function} with error {code}", "run `nvidia-smi`")
        )
        self.told, self.mend = told, mend
        super().__init__(f"{told}; {mend}")


class _Memory(ctypes.Structure):
    """``nvmlMemory_t``, bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _Utilization(ctypes.Structure):
    """``nvmlUtilization_t``, percent of the time since the driver's last sample."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Nvml:
    """NVML's answers as Python values; every method raises NvmlError."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, function: str, *arguments: Any) -> None:
        """Call one function and check its code."""
        found = getattr(self._library, function, None)
        code = _NO_FUNCTION if found is None else int(found(*arguments))
        if code:
            raise NvmlError(code, function)

    def driver_version(self) -> str:
        """Return the driver's own version, like ``580.65.06``."""
        return self._text("nvmlSystemGetDriverVersion")

    def cuda_version(self) -> tuple[int, int]:
        """Return the newest CUDA the driver supports, as (major, minor)."""
        version = ctypes.c_int()
        self.call("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(version))
        return version.value // 1000, version.value % 1000 // 10

    def boards(self) -> list[Handle]:
        """Return every board, in the order of ``nvidia-smi``."""
        count = ctypes.c_uint()
        self.call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        return [
            self._handle("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index))
            for index in range(count.value)
        ]

    def by_uuid(self, uuid: str) -> Handle:
        """Return the board or MIG instance of a full UUID."""
        return self._handle("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(uuid.encode()))

    def first_instance(self, board: Handle) -> Handle | None:
        """Return the first MIG instance of a board in MIG mode; None for any other board."""
        now, pending = ctypes.c_uint(), ctypes.c_uint()
        try:
            self.call("nvmlDeviceGetMigMode", board, ctypes.byref(now), ctypes.byref(pending))
            if not now.value:
                return None
            return self._handle("nvmlDeviceGetMigDeviceHandleByIndex", board, ctypes.c_uint(0))
        except NvmlError:  # boards older than MIG do not know the question
            return None

    def uuid(self, device: Handle) -> str:
        """Return the UUID, its prefix (``GPU-``, ``MIG-``) included."""
        return self._text("nvmlDeviceGetUUID", device)

    def name(self, device: Handle) -> str:
        """Return the product's name."""
        return self._text("nvmlDeviceGetName", device)

    def memory(self, device: Handle) -> tuple[int, int, int]:
        """Return bytes of memory: all of it, free, used (by every process)."""
        memory = _Memory()
        self.call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
        return int(memory.total), int(memory.free), int(memory.used)

    def utilisation(self, device: Handle) -> int:
        """Return the share of time some kernel ran, in percent."""
        rates = _Utilization()
        self.call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(rates))
        return int(rates.gpu)

    def _handle(self, function: str, *arguments: Any) -> Handle:
        handle = Handle()
        self.call(function, *arguments, ctypes.byref(handle))
        return handle

    def _text(self, function: str, *arguments: Any) -> str:
        text = ctypes.create_string_buffer(_TEXT)
        self.call(function, *arguments, text, ctypes.c_uint(_TEXT))
        return text.value.decode(errors="replace")


@contextmanager
def open_nvml() -> Iterator[Nvml]:
    """Open NVML, and close it again.

    Raises
    ------
    NvmlError
        If this machine has no NVIDIA driver, or the driver does not answer.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise NvmlError(ABSENT) from None
    nvml = Nvml(library)
    nvml.call("nvmlInit_v2")
    try:
        yield nvml
    finally:
        library.nvmlShutdown()
