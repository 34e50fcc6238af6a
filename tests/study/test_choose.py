"""What `choose` may say, and how it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpucv.errors import StudyError
from gpucv.study import Study, study_from_dict

GRID = {"max_depth": [4, 6]}
SPACE = {"max_depth": [2, 10], "learning_rate": [0.01, 0.3, "log"]}


def study(**predictor: Any) -> Study:
    return study_from_dict({"predictors": [predictor]}, base=Path()).study


def test_a_predictor_chooses_nothing_unless_it_says_so() -> None:
    spec = study().predictors[0]
    assert spec.choose is None
    assert "choose" not in spec.model_dump()


def test_a_rule_that_says_nothing_is_left_out_beside_auto() -> None:
    assert study(transform="auto", choose={}).predictors[0].choose is None


def test_one_column_to_fit_per_is_written_as_its_name() -> None:
    assert study(per=["gpu"]) == study(per="gpu")
    assert study(per=["gpu", "tp"]).predictors[0].per == ("gpu", "tp")


def test_a_donor_without_groups_is_refused() -> None:
    with pytest.raises(StudyError, match="donor 'nearest' needs per"):
        study(donor="nearest")


def test_a_grid_and_a_space_keep_what_they_list() -> None:
    by_grid = study(choose={"grid": GRID}).predictors[0].choose
    assert by_grid is not None
    assert (by_grid.by, by_grid.grid, by_grid.trials) == ("groups", {"max_depth": (4, 6)}, 0)
    drawn = study(choose={"space": SPACE, "trials": 5}).predictors[0].choose
    assert drawn is not None
    assert drawn.space == {"max_depth": (2, 10), "learning_rate": (0.01, 0.3, "log")}
    assert [type(bound) for bound in drawn.space["max_depth"]] == [int, int]


@pytest.mark.parametrize(
    ("predictor", "fault"),
    [
        ({"choose": {}}, "predictors.0: choose offers nothing: give it a grid or a space, or set"),
        ({"choose": {"grid": GRID, "space": SPACE, "trials": 1}}, "has both grid and space; give"),
        ({"choose": {"grid": {"a": []}}}, "predictors.0.choose: grid.a lists no value"),
        ({"choose": {"space": SPACE}}, "space and trials belong together"),
        ({"choose": {"grid": GRID, "trials": 3}}, "space and trials belong together"),
        ({"choose": {"space": {"a": [3, 3]}, "trials": 1}}, "space.a must rise"),
        ({"choose": {"space": {"a": [0, 3, "log"]}, "trials": 1}}, "space.a must rise, from above"),
        ({"choose": {"space": {"a": [1, 3, "lin"]}, "trials": 1}}, "choose.space.a.*'log'"),
        ({"choose": {"space": {"a": [1]}, "trials": 1}}, "predictors.0.choose.space.a"),
        ({"choose": {"by": "group", "grid": GRID}}, "choose.by: input should be 'groups' or 'val"),
        (
            {"choose": {"by": "validation", "group": "gpu", "grid": GRID}},
            "choose: group belongs to by = 'groups'; leave one of them out",
        ),
        (
            {"choose": {"transform": ["raw", "log"], "grid": GRID}},
            "choose.transform needs transform = 'auto'",
        ),
        (
            {"transform": "auto", "choose": {"transform": ["raw", "ratio"]}},
            "choose.transform lists 'ratio', which needs a baseline to divide by",
        ),
        ({"transform": "auto", "choose": {"transform": ["auto"]}}, "choose.transform.0: input sho"),
        ({"choose": {"grids": GRID}}, "key 'predictors.0.choose.grids'; did you mean 'grid'"),
    ],
)
def test_what_leaves_nothing_to_choose_is_refused(predictor: dict[str, Any], fault: str) -> None:
    with pytest.raises(StudyError, match=fault) as caught:
        study(**predictor)
    assert "\n" not in str(caught.value)
