"""An exchange whose calls fail or stall, one after the other."""

from __future__ import annotations

import errno
import itertools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gpucv.errors import EnvironmentFaultError
from gpucv.folds import run_folds, sharing, storage
from gpucv.folds.exchange import Exchange, can_read, must_be_writable
from gpucv.folds.resources import survey
from gpucv.folds.sharing import open_table, save_table
from gpucv.runs import FoldArrays, FoldStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask

pytestmark = pytest.mark.fault(47)


class Moody(MemoryFileSystem):
    """Object storage, some of whose calls do not do what they are asked."""

    protocol: ClassVar[str] = "moody"  # type: ignore[misc]
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls = itertools.count(1)
    mood: Callable[[int], None] = staticmethod(lambda call: None)
    removal: ClassVar[threading.Event] = threading.Event()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(str(path).replace("moody://", "memory://"))

    def _met(self) -> None:
        type(self).mood(next(type(self).calls))

    def makedirs(self, *given: Any, **options: Any) -> Any:
        self._met()
        return super().makedirs(*given, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> Any:
        self._met()
        content = Path(lpath).read_bytes()
        self.pipe_file(rpath, content[: len(content) // 2])
        self._met()  # half-way
        self.pipe_file(rpath, content)

    def get_file(self, rpath: str, lpath: str, **options: Any) -> Any:
        self._met()
        content = self.cat_file(rpath)
        Path(lpath).write_bytes(content[: len(content) // 2])
        self._met()
        Path(lpath).write_bytes(content)

    def size(self, path: str) -> Any:
        self._met()
        return super().size(path)

    def rm(self, path: str, *given: Any, **options: Any) -> None:
        type(self).removal.wait(60)
        super().rm(path, *given, **options)


@pytest.fixture(autouse=True)
def moody(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Moody]]:
    fsspec.register_implementation("moody", Moody, clobber=True)
    monkeypatch.setattr(storage, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(Moody, "calls", itertools.count(1))
    monkeypatch.setattr(Moody, "store", {})
    monkeypatch.setattr(Moody, "pseudo_dirs", [""])
    monkeypatch.setattr(Moody, "mood", staticmethod(lambda call: None))
    Moody.removal.set()
    yield Moody
    Moody.clear_instance_cache()


def fails(*calls: int, error: Exception | None = None) -> Any:
    def mood(call: int) -> None:
        if call in calls:
            raise error or OSError("500 Internal Server Error")

    return staticmethod(mood)


@pytest.fixture
def arrays() -> FoldArrays:
    rows = np.arange(3, dtype=np.int64)
    codes = np.zeros(3, dtype=np.int32)
    return FoldArrays((codes, ("a",)), rows, rows * 1.0, rows * 2.0, model=b"trees" * 100)


@pytest.fixture
def pass_on(
    tasks: tuple[FoldTask, ...], arrays: FoldArrays, tmp_path: Path
) -> Callable[[], FoldStore]:
    """Return how to pass a fold through the exchange; the folder it arrives in comes back."""
    folders = (tmp_path / str(number) for number in itertools.count())

    def passed() -> FoldStore:
        store = FoldStore(next(folders))
        exchange = Exchange.of_run("moody://exchange", tmp_path / "run")
        exchange.prepare()
        deposit = exchange.deposit(tasks[3].blank_record(), arrays)
        assert deposit.fetch(store).fold_id == 3
        return store

    return passed


def test_whichever_call_fails_once_the_fold_arrives_whole(
    pass_on: Callable[[], FoldStore], moody: type[Moody], monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_on()
    calls = next(moody.calls) - 1
    assert calls > 20
    for number in range(1, calls + 1):
        monkeypatch.setattr(moody, "calls", itertools.count(1))
        monkeypatch.setattr(moody, "mood", fails(number))
        pass_on()
        assert next(moody.calls) > calls + 1  # it was tried again


def test_whichever_call_fails_for_good_nothing_half_read_stays(
    pass_on: Callable[[], FoldStore],
    tmp_path: Path,
    moody: type[Moody],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pass_on()
    calls = next(moody.calls) - 1
    told = r"500 Internal Server Error, 4 times; check execution\.exchange, then resume the run"
    for number in range(1, calls + 1):
        monkeypatch.setattr(moody, "calls", itertools.count(1))
        monkeypatch.setattr(moody, "mood", fails(*range(number, number + 99)))
        with pytest.raises(EnvironmentFaultError, match=told):
            pass_on()
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4  # of the first


def test_a_call_that_stalls_is_given_up_and_tried_again(
    pass_on: Callable[[], FoldStore], moody: type[Moody], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def stall(call: int) -> None:
        if call % 7 == 0:
            ended.wait(60)

    monkeypatch.setattr(storage, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(moody, "mood", staticmethod(stall))
    try:
        pass_on()
    finally:
        ended.set()
    assert next(moody.calls) > 7


def test_a_download_that_hangs_half_way_leaves_nothing_beside_the_file(
    tmp_path: Path, moody: type[Moody], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.filesystem("moody").pipe_file("/exchange/DONE", b"done")
    ended, stalled = threading.Event(), itertools.count(1)

    def stall(call: int) -> None:
        if call == 3 and next(stalled) == 1:  # its size, the file, and half-way through it
            ended.wait(60)

    monkeypatch.setattr(storage, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(moody, "mood", staticmethod(stall))
    try:
        storage.download("moody://exchange/DONE", tmp_path / "DONE")
        assert [path.name for path in tmp_path.iterdir()] == ["DONE"]
    finally:
        ended.set()
    assert next(stalled) == 2


def test_a_removal_that_hangs_is_not_waited_for(
    pass_on: Callable[[], FoldStore], moody: type[Moody], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "STALL_SECONDS", 0.2)
    moody.removal.clear()
    passing = threading.Thread(target=pass_on, daemon=True)
    passing.start()
    passing.join(20)
    hangs = passing.is_alive()
    moody.removal.set()
    assert not hangs


def test_a_store_that_never_answers_ends_the_run(
    pass_on: Callable[[], FoldStore], moody: type[Moody], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(storage, "STALL_SECONDS", 0.05)
    monkeypatch.setattr(moody, "mood", staticmethod(lambda call: ended.wait(60) and None))
    try:
        with pytest.raises(
            EnvironmentFaultError, match=r"no answer within 0\.05 s, 4 times; check"
        ):
            pass_on()
    finally:
        ended.set()


@pytest.mark.parametrize(
    "error", [PermissionError("403"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_what_will_not_pass_is_not_tried_again(
    error: Exception,
    pass_on: Callable[[], FoldStore],
    moody: type[Moody],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(moody, "mood", fails(*range(99), error=error))
    with pytest.raises(EnvironmentFaultError, match=r"check execution\.exchange"):
        pass_on()
    assert next(moody.calls) == 2


def test_a_table_is_put_and_fetched_in_spite_of_it(
    table: FeatureTable, moody: type[Moody], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_opened", {})
    monkeypatch.setattr(moody, "mood", fails(1, 3))
    ref = save_table(table, "moody://exchange/table.parquet")
    assert open_table(ref).fingerprint == table.fingerprint
    assert next(moody.calls) > 4
    assert can_read("moody://exchange/table.parquet")


def test_a_worker_that_outlives_its_run_leaves_nothing_in_the_exchange(
    tasks: tuple[FoldTask, ...], arrays: FoldArrays, tmp_path: Path
) -> None:
    exchange = Exchange.of_run(str(tmp_path / "exchange"), tmp_path / "run")
    exchange.prepare()
    exchange.clear()
    with pytest.raises(EnvironmentFaultError, match="the run that fold 3 is of is over"):
        exchange.deposit(tasks[3].blank_record(), arrays)
    assert list((tmp_path / "exchange").iterdir()) == []


def test_an_exchange_that_refuses_is_noticed_before_anything_is_read(
    loaded: Any, moody: type[Moody], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    must_be_writable("moody://exchange")
    assert not moody.store
    must_be_writable(str(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setattr(moody, "mood", fails(*range(99), error=PermissionError("403")))
    for place in ("moody://exchange", str(tmp_path / "file" / "exchange")):
        with pytest.raises(EnvironmentFaultError, match=f"cannot write to {place}"):
            survey(loaded(execution={"exchange": place}).study.execution)


@pytest.mark.fault(6)
def test_a_fold_published_late_changes_nothing(
    tasks: tuple[FoldTask, ...], table: FeatureTable, request_for: Any, progress: Any
) -> None:
    """By a worker thought lost, on threads as on workers."""
    request = request_for()
    records = run_folds(request, table, progress)
    store = FoldStore(request.root)
    found = {path: path.read_bytes() for path in request.root.rglob("*") if path.is_file()}
    assert store.publish(tasks[3].blank_record(), None) == records[3]
    assert {p: p.read_bytes() for p in request.root.rglob("*") if p.is_file()} == found
