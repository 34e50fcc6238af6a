from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.folds import sharing
from gpucv.folds.sharing import TableRef, open_table, save_table, shared_table

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.features import FeatureTable


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the table that another test read."""
    monkeypatch.setattr(sharing, "_opened", {})


def assert_same(one: FeatureTable, other: FeatureTable) -> None:
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "keys":
            assert list(mine) == list(theirs)
            for name in mine:
                assert mine[name].names == theirs[name].names
                np.testing.assert_array_equal(mine[name].codes, theirs[name].codes)
        elif field.name in {"views", "tokens", "labels"}:
            assert mine == theirs
        else:
            np.testing.assert_array_equal(mine, theirs)


def test_threads_share_the_table_itself(table: FeatureTable) -> None:
    with shared_table(table) as ref:
        assert open_table(ref) is table
    with pytest.raises(EnvironmentFaultError, match="not shared in this process"):
        open_table(ref)


def test_two_runs_over_the_same_data_do_not_take_it_from_each_other(table: FeatureTable) -> None:
    with shared_table(table) as ref:
        with shared_table(table):
            pass
        assert_same(open_table(ref), table)


def test_a_run_that_ends_leaves_another_one_its_rows(table: FeatureTable) -> None:
    first, known = replace(table), replace(table)
    one, other = shared_table(first), shared_table(table)
    one.__enter__()
    ref = other.__enter__()
    one.__exit__(None, None, None)
    first.release()
    assert_same(open_table(ref), known)
    other.__exit__(None, None, None)


def test_a_worker_process_reads_every_bit_of_it(table: FeatureTable, tmp_path: Path) -> None:
    ref = save_table(table, tmp_path / "table.parquet")
    found = open_table(ref)
    assert_same(found, table)
    assert found.X.flags.c_contiguous
    assert found.X.dtype == np.float32


def with_more(table: FeatureTable) -> FeatureTable:
    """The table as a study of many formulations makes it."""
    light = np.linspace(0.5, 9.5, len(table))
    light[3] = np.nan
    return replace(
        table,
        views={"": (0, 1), "transfer": (1,), "inputs of constant": ()},
        tokens={"tokens": "rises", "depth": "mixed"},
        labels=("depth",),
        sol_us=light,
    )


def test_a_worker_process_reads_views_directions_and_light_too(
    table: FeatureTable, tmp_path: Path
) -> None:
    whole = with_more(table)
    found = open_table(save_table(whole, tmp_path / "table.parquet"))
    assert_same(found, whole)
    assert found.sol_us is not None
    assert found.sol_us.dtype == np.float64
    assert np.isnan(found.sol_us[3])
    assert [found.view(name) for name in whole.views] == [(0, 1), (1,), ()]
    assert all(isinstance(columns, tuple) for columns in found.views.values())


def test_a_table_without_a_feature_reaches_a_worker(table: FeatureTable, tmp_path: Path) -> None:
    bare = replace(table, X=table.X[:, :0], feature_names=())
    found = open_table(save_table(bare, tmp_path / "table.parquet"))
    assert_same(found, bare)
    assert found.X.shape == (len(table), 0)


def test_a_worker_reads_the_file_once(table: FeatureTable, tmp_path: Path) -> None:
    ref = save_table(table, tmp_path / "table.parquet")
    found = open_table(ref)
    (tmp_path / "table.parquet").unlink()
    assert open_table(ref) is found


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but no more"])
def test_a_table_that_cannot_be_read_is_a_fault_of_the_machine(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "table.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EnvironmentFaultError, match="workers need the run folder on a shared disk"):
        open_table(TableRef("0" * 64, str(path)))


def test_a_file_with_another_table_is_not_taken_for_this_one(
    table: FeatureTable, tmp_path: Path
) -> None:
    ref = save_table(table, tmp_path / "table.parquet")
    with pytest.raises(EnvironmentFaultError, match="holds another table than the plan's"):
        open_table(replace(ref, fingerprint="0" * 64))


def test_no_flipped_byte_of_a_saved_table_goes_unseen(table: FeatureTable, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    ref = save_table(table, path)
    whole = path.read_bytes()
    data_ends = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(4, data_ends, 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            read = sharing._read(ref)
        except EnvironmentFaultError:
            continue
        np.testing.assert_array_equal(read.X, table.X)
        np.testing.assert_array_equal(read.y, table.y)
