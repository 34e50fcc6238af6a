"""What `gpucv export` writes, answered by Python and by Go: every row of what it learnt from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import tomli_w

from gpucv.cli.main import main
from gpucv.export import ArtifactSet
from gpucv.export.program import INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

EMBEDDED = Path(__file__).resolve().parents[2] / "data" / "study.parquet"


def export(study: dict[str, Any], folder: Path) -> Path:
    """Export a study that was not run: the set has no held-out scores."""
    (folder / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(folder / "study.toml"), "--unverified", "-o", str(folder / "set")])
    assert ended.value.code in (0, None)
    return folder / "set"


def must_agree(steptime: Callable[..., Any], folder: Path, steps: list[Path]) -> int:
    """Ask every model of a set for every row, in both languages; return how many rows."""
    assert steptime("verify", folder).code == 0
    artifacts, rows = ArtifactSet.load(folder, trusted=True), 0
    for path in steps:
        frame = pd.read_parquet(path)
        frame = frame[[name for name in INPUTS if name in frame]]
        table = frame.to_csv(index=False)
        for name in artifacts.ids:
            done = steptime("predict", "--model", name, folder, stdin=table)
            assert done.code == 0, done.err
            answers = pd.read_csv(io.StringIO(done.out))
            us, _, outside = artifacts.model(name).predict(frame)
            assert (answers["us"].to_numpy() == us).all()
            assert (answers["out_of_domain"].to_numpy() == outside).all()
            rows += len(us)
    return rows


def test_both_answer_every_row_of_the_embedded_study_alike(
    steptime: Callable[..., Any], tmp_path: Path
) -> None:
    study = {
        "data": {"steps": [str(EMBEDDED)], "target": "step.duration_us", "audit": "off"},
        "features": {"set": "transfer"},
        "predictors": [{"transform": "log", "params": {"n_estimators": 60, "max_depth": 5}}],
    }
    assert must_agree(steptime, export(study, tmp_path), [EMBEDDED]) == 4 * 122_752


def test_both_answer_every_row_of_real_vllm_steps_alike(
    steptime: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    steps = sorted((shared_data / "vllm-steps").glob("*.parquet"))
    study = {
        "data": {
            "steps": [str(path) for path in steps],
            "target": "step.cycle_us",
            "audit": "off",
            "constants": {"gpu": "h100"},
        },
        "features": {"set": "transfer"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [{"transform": "ratio", "baseline": "layered-roofline"}],
    }
    assert must_agree(steptime, export(study, tmp_path), steps) > 20_000
