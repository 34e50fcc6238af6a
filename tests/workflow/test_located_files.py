from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.study import study_from_dict
from gpucv.workflow.preparation import locate_steps

if TYPE_CHECKING:
    from pathlib import Path


def located(name: str, base: Path) -> str:
    loaded = study_from_dict({"data": {"steps": [name]}}, base=base)
    (found,) = locate_steps(loaded).study.data.steps
    return found


def test_links_are_not_followed_since_formats_read_labels_off_folders(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "0001.csv").touch()
    (tmp_path / "h100").mkdir()
    (tmp_path / "h100" / "mlp.csv").symlink_to(tmp_path / "store" / "0001.csv")
    (tmp_path / "a100").symlink_to(tmp_path / "h100")
    assert located("h100/mlp.csv", tmp_path) == str(tmp_path / "h100" / "mlp.csv")
    assert located("a100/mlp.csv", tmp_path) == str(tmp_path / "a100" / "mlp.csv")
    assert located("store/../h100", tmp_path) == str(tmp_path / "h100")


def test_up_from_a_link_is_up_from_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "far" / "steps.csv").touch()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "inner")
    assert located("near/../steps.csv", tmp_path) == str(tmp_path / "far" / "steps.csv")
