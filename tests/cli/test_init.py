from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from gpucv.study import Study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


def test_the_file_validates_once_its_data_is_there(
    gpucv: Command, tmp_path: Path, few_steps: pd.DataFrame
) -> None:
    assert gpucv("init") == (0, "study.toml\n", "")
    assert gpucv("validate", "study.toml").code == 2
    few_steps.to_parquet(tmp_path / "steps.parquet")
    named = ("--set", 'data.steps=["steps.parquet"]')
    refused = gpucv("validate", "study.toml", *named)
    assert (refused.code, "the audit fails step.duration_us" in refused.err) == (3, True)
    outcome = gpucv("validate", "study.toml", *named, "--set", "data.audit='warn'")
    assert outcome.code == 0, outcome.err


def test_the_file_shows_every_default(gpucv: Command, tmp_path: Path) -> None:
    gpucv("init", "new.toml")
    written = tomllib.loads((tmp_path / "new.toml").read_text(encoding="utf-8"))
    del written["data"]["steps"]
    params = written["predictors"][0].pop("params")
    assert params["n_estimators"] == 300
    assert Study.model_validate_json(json.dumps(written)) == Study()


def test_a_folder_gets_a_file_of_the_usual_name(gpucv: Command, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert gpucv("init", "here").out == "here/study.toml\n"


def test_a_file_that_is_there_stays_unless_forced(gpucv: Command, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("mine", encoding="utf-8")
    assert gpucv("init").code == 2
    assert (tmp_path / "study.toml").read_text(encoding="utf-8") == "mine"
    assert gpucv("init", "--force").code == 0
    assert "schema = 1" in (tmp_path / "study.toml").read_text(encoding="utf-8")
    assert gpucv("init", "no/such/folder/study.toml").code == 4
