"""Programs against the formulas they were traced from, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.catalog import load_catalog
from gpucv.errors import UntraceableError
from gpucv.export.configurations import configurations_of
from gpucv.export.formulas import Formulas, evaluate, inputs_of_frame
from gpucv.export.program import INPUTS
from gpucv.export.tracing import Trace, TracedColumns
from gpucv.features import build_features
from gpucv.features.inputs import STEP_INPUTS, inputs_set
from gpucv.features.physics30 import FEATURES
from gpucv.features.sets import named_set
from gpucv.features.transfer import STEP_FEATURES
from gpucv.features.views import ViewPlan
from gpucv.frames.cpu import PandasColumns
from gpucv.study import FeatureSpec

if TYPE_CHECKING:
    from gpucv.features import FeatureSet

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH = (*INPUTS[:5], "tp")


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    return pd.read_parquet(REPOSITORY / "data" / "study.parquet")


@pytest.fixture
def recorded(shared_data: Path) -> pd.DataFrame:
    """The real steps of vLLM."""
    files = sorted((shared_data / "vllm-steps").glob("2*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True).assign(
        gpu="h100"
    )


def programmed(frame: pd.DataFrame, part: FeatureSet, names: list[str]) -> np.ndarray:
    """What the programs of each configuration make of its own rows."""
    catalog = load_catalog()
    X = np.full((len(frame), len(names)), np.inf, dtype=np.float32)
    for each in configurations_of(frame, catalog):
        rows = frame.iloc[each.rows].reset_index(drop=True)
        formulas = Formulas(rows, ViewPlan([part], BATCH, {}), catalog)
        found = [formulas.of(name) for name in names]
        program, registers = formulas.trace.program([f.traced for f in found])
        undefined = [f.undefined for f in found]
        X[each.rows] = evaluate(program, registers, undefined, inputs_of_frame(rows))
    return X


def computed(frame: pd.DataFrame, part: FeatureSet, names: list[str]) -> np.ndarray:
    """What the formulas make of them, as folds read it."""
    X = np.empty((len(frame), len(names)), dtype=np.float32)
    columns = PandasColumns(frame)
    with np.errstate(all="ignore"):
        quantities = part.quantities(columns, load_catalog())
        for at, feature in enumerate(part.only(names).features):
            values = feature.formula(quantities).astype(np.float32)
            X[:, at] = np.where(np.isfinite(values), values, part.undefined)
    return X


def with_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, every seventh count missing."""
    gaps = {}
    for at, name in enumerate(INPUTS[:5]):
        gaps[name] = frame[name].astype(float).mask(np.arange(len(frame)) % 7 == at)
    return frame.assign(**gaps)


def sim_available(features: tuple) -> list[str]:
    return [feature.name for feature in features if feature.available != "trace-only"]


SETS = {"physics-30": FEATURES, "transfer": STEP_FEATURES, "inputs": STEP_INPUTS}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("gaps", [False, True])
def test_every_feature_a_simulator_knows_has_the_same_bits_on_the_embedded_study(
    study: pd.DataFrame, name: str, gaps: bool
) -> None:
    frame = with_gaps(study) if gaps else study
    must_agree(frame, name)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", SETS)
def test_and_on_the_real_steps_of_vllm(recorded: pd.DataFrame, name: str) -> None:
    must_agree(recorded, name)


def must_agree(frame: pd.DataFrame, name: str) -> None:
    columns = PandasColumns(frame)
    part = inputs_set(columns) if name == "inputs" else named_set(name, columns)
    names = sim_available(SETS[name])
    assert len(names) >= 4
    ours, theirs = programmed(frame, part, names), computed(frame, part, names)
    differ = (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
    assert {names[at]: int(count) for at, count in enumerate(differ.sum(axis=0)) if count} == {}
    assert np.isfinite(ours).mean() > 0.5


def test_plain_counts_of_the_batch_are_themselves(study: pd.DataFrame) -> None:
    part = named_set("transfer", PandasColumns(study))
    wanted, names = build_features(
        study, FeatureSpec(set="", columns=BATCH), load_catalog(), np.float32
    )
    assert names == BATCH
    assert np.array_equal(programmed(study, part, list(BATCH)), wanted)


def test_a_power_of_the_tokens_has_the_float32_of_numpys() -> None:
    """A mixture's weights: E (1 - (1 - k/E)^tokens), for every whole number of tokens."""
    tokens = np.arange(100_001)
    frame = pd.DataFrame(
        {"model": "mixtral-8x7b-v0-1", "gpu": "h100", "tp": 2, "batch.scheduled_tokens": tokens}
    )
    part = inputs_set(PandasColumns(frame))
    ours, theirs = (make(frame, part, ["weight_us"]) for make in (programmed, computed))
    assert np.array_equal(ours, theirs)
    assert len(np.unique(ours)) > 50


def traced(known: pd.DataFrame | None = None) -> TracedColumns:
    frame = pd.DataFrame({"model": ["llama-2-7b"], "tp": [1]}) if known is None else known
    return TracedColumns(Trace(), frame, frozenset({*frame.columns, *INPUTS}))


def test_what_is_known_of_a_configuration_leaves_no_operation() -> None:
    columns = traced()
    tp = columns.numbers("tp", float("nan"))
    width = columns.lookup("model", {"llama-2-7b": 4096.0})
    assert float(columns.xp.maximum(width / tp, 1.0) * 2.0) == 8192.0


def test_what_is_written_twice_is_computed_once_and_what_is_unused_not_at_all() -> None:
    columns = traced()
    prefill = columns.numbers("batch.prefill_tokens", float("nan"))
    _unused = prefill / 3.0
    both = (prefill * 2.0) + (prefill * 2.0)
    program, registers = columns.numbers("tp", 0.0).trace.program([both])
    assert [op[0] for op in program.ops] == ["mul", "add"]
    assert program.run(np.full((len(INPUTS), 1), 3.0), registers)[0] == [12.0]


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, xp: bool((x > 0).any()),
        lambda x, xp: float(x.max()),
        lambda x, xp: xp.cumsum(x),
        lambda x, xp: xp.log(x),
        lambda x, xp: x**3,
        lambda x, xp: x**0.5,
        lambda x, xp: (-2.0) ** x,
    ],
)
def test_a_formula_that_is_no_straight_program_is_refused(formula: object) -> None:
    columns = traced()
    with pytest.raises(UntraceableError, match="formula"):
        formula(columns.numbers("batch.decode_tokens", 0.0), columns.xp)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("base", "power"), [(0.0, 0.0), (0.0, 3.0), (0.0, float("nan")), (0.75, 7.0), (1.0, 5.0)]
)
def test_a_known_base_is_raised_to_any_power(base: float, power: float) -> None:
    columns = traced()
    x = columns.numbers("batch.decode_tokens", float("nan"))
    program, registers = x.trace.program([x.trace.of(base) ** x])
    (found,) = program.run(np.full((len(INPUTS), 1), power), registers)
    np.testing.assert_allclose(found, np.float64(base) ** np.float64(power), rtol=1e-15)
