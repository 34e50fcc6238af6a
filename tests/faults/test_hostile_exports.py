"""Names from data in what is exported: into no file name, and no terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv
from gpucv.catalog import load_catalog
from gpucv.cli.main import main
from gpucv.export import ArtifactSet

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

pytestmark = pytest.mark.fault(38)


def test_an_exported_set_and_what_is_said_of_it_are_harmless(
    few_steps: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    names = {
        "codellama-34b": "<script>../../x</script>\x1b]0;t\x07|\u202e",
        "llama-2-7b": "=cmd [a](b)\n\x9b",
    }
    known = load_catalog().models
    fields = {"name", "aliases", "hf_repo"}
    entries = [
        {**known.get(old).model_dump(exclude=fields, exclude_none=True), "name": new}
        for old, new in names.items()
    ]
    few_steps.assign(model=few_steps["model"].map(names)).to_parquet(tmp_path / "steps.parquet")
    study: dict[str, Any] = {
        "data": {"steps": ["steps.parquet"], "audit": "off"},
        "catalog": {"models": entries},
        "predictors": [{"features": "transfer", "params": {"n_estimators": 2}}],
        "execution": {"workers": 1, "device": "cpu"},
    }
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    gpucv.run("study.toml", out=tmp_path / "run")
    predicted = (
        "predict",
        "set",
        "steps.parquet",
        "--trusted",
        "--model",
        f"{names['llama-2-7b']}",
    )
    for words in (("export", "run", "--out", "set"), (*predicted, "--out", "times.csv")):
        with pytest.raises(SystemExit) as ended:
            main([*words])
        out, err = capfd.readouterr()
        assert ended.value.code == 0, err
        assert not [c for c in out + err if not c.isprintable() and c != "\n"]
    plain = re.compile(r"[a-z]+|[a-z]+\.json|\d{4}\.(json|ubj)")
    assert all(plain.fullmatch(path.name) for path in (tmp_path / "set").rglob("*"))
    ids = ArtifactSet.load(tmp_path / "set").ids
    assert {name.rsplit("/", 2)[0] for name in ids} == set(names.values())
