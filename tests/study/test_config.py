from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from gpucv.study import SchemeSpec, Study, study_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = resources.files("gpucv.study").joinpath("template.toml").read_text(encoding="utf-8")


def study(**keys: Any) -> Study:
    return study_from_dict(keys, base=Path()).study


def sections(model: type[BaseModel] = Study) -> Iterator[type[BaseModel]]:
    """The study's own classes, the outermost first."""
    yield model
    for field in model.model_fields.values():
        for each in (field.annotation, *get_args(field.annotation)):
            if isinstance(each, type) and issubclass(each, BaseModel):
                yield from sections(each)


def keys_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def test_a_study_of_nothing_is_the_published_one_on_no_data() -> None:
    empty = study()
    assert empty == Study()
    assert [(s.name, s.columns, s.p) for s in empty.schemes] == [
        ("lomo", ("model",), 1),
        ("lowo", ("workload",), 1),
    ]
    assert (empty.seed, empty.data.target) == (42, "step.duration_us")
    assert (empty.validation.fraction, empty.validation.order) == (0.25, "experiment")
    assert empty.validation.early_stopping_rounds == 0
    assert [(p.name, p.transform, p.params) for p in empty.predictors] == [("xgboost", "raw", {})]
    verdict = empty.verdict
    assert (verdict.mape_max, verdict.mape_strong, verdict.mape_partial) == (25, 20, 30)


def test_every_key_but_a_name_has_a_default() -> None:
    needed = {
        f"{section.__name__}.{key}"
        for section in sections()
        if section.__name__ != "GpuSpec"  # a data sheet has no defaults
        for key, field in section.model_fields.items()
        if field.is_required()
    }
    assert needed == {"SchemeSpec.name", "ModelEntry.name"}


@pytest.mark.parametrize("section", list(sections()), ids=lambda each: each.__name__)
def test_every_key_stands_in_the_template(section: type[BaseModel]) -> None:
    written = set(re.findall(r"(\w+)(?:\]| = )", TEMPLATE)) | {"catalog"}
    assert set(keys_of(section)) <= written


def test_the_template_shows_the_defaults() -> None:
    raw = tomllib.loads(TEMPLATE)
    assert raw["data"].pop("steps")
    defaults = Study().model_dump(mode="json", by_alias=True)
    predictor = raw["predictors"][0]
    # Its parameters are written out, and those of the predictor's own defaults.
    from gpucv.predictors import check_params

    assert check_params(predictor["name"], predictor.pop("params")) == check_params("xgboost", {})
    for key, value in raw.items():
        if isinstance(value, list):
            for row, default in zip(value, defaults[key], strict=True):
                assert default | row == default
        elif isinstance(value, dict):
            assert defaults[key] | value == defaults[key]
        else:
            assert value == defaults[key]
    assert study_from_dict(tomllib.loads(TEMPLATE), base=Path()).study.schemes == Study().schemes


def test_what_the_template_only_mentions_is_valid_too() -> None:
    tables = re.findall(r"^(?:# \[\[.*\n(?:# \w+ = .*\n)+)", TEMPLATE, re.MULTILINE)
    text = re.sub("^# ", "", "".join(tables), flags=re.MULTILINE)
    raw = tomllib.loads(text.replace("config =", "num_attention_heads = 1 #"))
    raw["catalog"]["models"][0] |= raw["catalog"]["models"][1] | raw["catalog"]["models"][0]
    found = study(**raw)
    assert [scheme.p for scheme in found.schemes] == [2, *[1] * 6]
    # Five by hand, and the combinations of a sweep of four keys with two values each.
    assert len(found.predictors) == 5 + 2**4
    assert len(found.catalog.models) == 2
    assert len(found.catalog.gpus) == 1


def test_columns_alone_mean_those_columns_alone() -> None:
    features = study(features={"columns": ["a", "b"]}).features
    assert (features.set, features.columns) == ("", ("a", "b"))


def test_columns_may_join_the_named_set() -> None:
    features = study(features={"set": "physics-30", "columns": ["a"]}).features
    assert (features.set, features.columns) == ("physics-30", ("a",))


def test_one_held_out_column_may_stand_without_brackets() -> None:
    assert SchemeSpec(name="x", hold_out="model").columns == ("model",)
    assert SchemeSpec(name="x", hold_out=("model", "gpu")).columns == ("model", "gpu")
    assert SchemeSpec(name="x", splitter="KFold").columns == ()


def test_a_study_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Study().name = "other"  # type: ignore[misc]
