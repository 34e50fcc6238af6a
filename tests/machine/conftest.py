from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import packaging.requirements  # noqa: F401 - loaded while it can be found; see `install`
import pytest

from gpucv.machine import nvml as nvml_module
from gpucv.machine import probing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GIB = 2**30


@dataclass
class Board:
    """One GPU of a machine that is not there; `instances` are (uuid, bytes) of MIG."""

    uuid: str
    name: str = "NVIDIA H100"
    memory: tuple[int, int] = (80 * GIB, 79 * GIB)  # all, free
    utilisation: int | None = 50
    instances: list[tuple[str, int]] = field(default_factory=list)


class FakeNvml:
    """NVML of a machine with these boards: functions of `nvml.h`, by the book."""

    def __init__(self, boards: list[Board]) -> None:
        self.boards, self.refuses, self.open, self.missing = boards, 0, 0, False

    def __call__(self, name: str, mode: int = 0) -> FakeNvml:
        if name != "libnvidia-ml.so.1" or self.missing:
            raise OSError(name)
        return self

    def _targets(self) -> list[Board]:
        """Boards, then their instances; a handle is a place in this list, plus 1."""
        instances = [
            Board(uuid, f"{board.name} MIG", (size, size), None)
            for board in self.boards
            for uuid, size in board.instances
        ]
        return [*self.boards, *instances]

    def _of(self, handle: Any) -> Board:
        return self._targets()[handle.value - 1]

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVML's own names
        self.open += not self.refuses
        return self.refuses

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.open -= 1
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: Any) -> int:  # noqa: N802
        text.value = b"580.65.06"
        return 0

    def nvmlSystemGetCudaDriverVersion_v2(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13000
        return 0

    def nvmlDeviceGetCount_v2(self, number: Any) -> int:  # noqa: N802
        number._obj.value = len(self.boards)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:  # noqa: N802
        handle._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> int:  # noqa: N802
        for place, board in enumerate(self._targets()):
            if board.uuid == uuid.value.decode():
                handle._obj.value = place + 1
                return 0
        return 6

    def nvmlDeviceGetMigMode(self, handle: Any, now: Any, pending: Any) -> int:  # noqa: N802
        now._obj.value = pending._obj.value = int(bool(self._of(handle).instances))
        return 0

    def nvmlDeviceGetMigDeviceHandleByIndex(  # noqa: N802
        self, handle: Any, index: Any, found: Any
    ) -> int:
        first = self._of(handle).instances[index.value][0]
        return self.nvmlDeviceGetHandleByUUID(ctypes.c_char_p(first.encode()), found)

    def nvmlDeviceGetUUID(self, handle: Any, text: Any, size: Any) -> int:  # noqa: N802
        text.value = self._of(handle).uuid.encode()
        return 0

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: Any) -> int:  # noqa: N802
        text.value = self._of(handle).name.encode()
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        total, free = self._of(handle).memory
        if not total:
            return 3
        memory._obj.total, memory._obj.free = total, free
        memory._obj.used = total - free
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:  # noqa: N802
        share = self._of(handle).utilisation
        if share is None:
            return 3
        rates._obj.gpu = share
        return 0


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    """A machine of four GPUs, all of them shown."""
    library = FakeNvml([Board(f"GPU-{number}000-aaaa") for number in range(4)])
    monkeypatch.setattr(nvml_module.ctypes, "CDLL", library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield library
    assert library.open == 0


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Let the packages installed be these and no others; what they ask for after a `|`."""

    def install(**versions: str) -> None:
        for name, told in versions.items():
            distribution = name.replace("_", "-")
            version, *asked = told.split("|")
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir()
            lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
            lines += [f"Requires-Dist: {each}" for each in asked]
            (folder / "METADATA").write_text("\n".join(lines) + "\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])

    return install


WORKING = (
    {
        "step": "driver",
        "cuda": [13, 0],
        "devices": [
            {"name": "NVIDIA H100", "uuid": f"{number}000-aaaa", "memory_bytes": 80 * GIB}
            for number in range(4)
        ],
    },
    {"step": "memory"},
    {"step": "xgboost", "version": "3.2.0", "cuda": [12, 9], "nccl": True},
    {"step": "train-cuda", "device": "cuda:0", "warned": []},
    {"step": "train-cpu", "device": "cpu", "warned": []},
)


class StubProbe:
    """A program that says it took the steps it was asked for; how often it ran is counted."""

    def __init__(self, path: Path) -> None:
        self.path, self._count = path, path.with_name("count")
        self._lines = {str(line["step"]): json.dumps(line) for line in WORKING}
        self.ends("")

    def says(self, step: str, **told: Any) -> None:
        """Let a step tell this instead."""
        self._lines[step] = json.dumps({"step": step, **told})
        self.ends("")

    def ends(self, how: str, after: str = "") -> None:
        """Let the program end with the statement `how`, after the step named or before all."""
        self.path.write_text(
            "import os, sys, signal, time\n"
            f"open({str(self._count)!r}, 'a').write('x')\n"
            f"lines, after = {self._lines!r}, {after!r}\n"
            f"if {bool(how)} and not after: {how or 'pass'}\n"
            "for step in sys.argv[1:]:\n"
            "    print(lines[step], flush=True)\n"
            f"    if step == after: {how or 'pass'}\n"
        )

    @property
    def runs(self) -> int:
        return len(self._count.read_text()) if self._count.exists() else 0


@pytest.fixture
def stub_probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubProbe]:
    """Four GPUs that work, as a program tells that takes the place of the real one."""
    stub = StubProbe(tmp_path / "stub.py")
    monkeypatch.setattr(probing, "_PROGRAM", stub.path)
    probing._probe.cache_clear()
    yield stub
    probing._probe.cache_clear()
