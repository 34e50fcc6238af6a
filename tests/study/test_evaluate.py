"""When errors are looked at, and what an earlier study says of it: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpucv.errors import StudyError
from gpucv.study import Study, study_from_dict
from gpucv.study.load import fingerprint


def study(**validation: Any) -> Study:
    return study_from_dict({"validation": validation}, base=Path()).study


def test_by_default_it_follows_from_early_stopping_and_adds_nothing_to_a_fingerprint() -> None:
    assert fingerprint(study(evaluate="end")) == fingerprint(study())
    stopping = study(early_stopping_rounds=5)
    said = study(early_stopping_rounds=5, evaluate="early_stop")
    assert fingerprint(said) == fingerprint(stopping) != fingerprint(study())
    assert not study().validation.curve


def test_a_curve_is_part_of_what_a_study_is() -> None:
    assert study(evaluate="curve").validation.curve
    assert fingerprint(study(evaluate="curve")) != fingerprint(study())


@pytest.mark.parametrize(
    ("validation", "told"),
    [
        ({"evaluate": "early_stop"}, "'early_stop' needs early_stopping_rounds above 0"),
        (
            {"evaluate": "end", "early_stopping_rounds": 5},
            "'end' looks at errors after training, and early_stopping_rounds = 5 during it",
        ),
        (
            {"evaluate": "curve", "early_stopping_rounds": 7},
            "'curve' looks at errors after training, and early_stopping_rounds = 7 during it; use "
            "evaluate = 'early_stop', or early_stopping_rounds = 0",
        ),
        ({"evaluate": "sometimes"}, "evaluate"),
    ],
)
def test_what_contradicts_itself_is_refused(validation: dict[str, Any], told: str) -> None:
    with pytest.raises(StudyError, match=f"validation.*{told}"):
        study(**validation)
