from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.analysis import SchemeMeaning, scheme_meanings, schemes_from_json
from gpucv.analysis.meaning import meaning_by_name
from gpucv.errors import RunError
from gpucv.study import SchemeSpec

LOMO = SchemeMeaning(("model",), control=False)


@pytest.mark.parametrize(
    ("spec", "meaning"),
    [
        ({"hold_out": "model"}, LOMO),
        (
            {"hold_out": ("model", "workload")},
            SchemeMeaning(("model", "workload"), control=False),
        ),
        ({"hold_out": "model", "p": 2}, SchemeMeaning(("model",), control=False, several=True)),
        (
            {"hold_out": "model", "splitter": "GroupKFold"},
            SchemeMeaning(("model",), control=False, several=True),
        ),
        ({"hold_out": "model", "splitter": "LeaveOneGroupOut"}, LOMO),
        ({"splitter": "KFold"}, SchemeMeaning((), control=True)),
        (
            {"splitter": "KFold", "params": {"shuffle": True}},
            SchemeMeaning((), control=True, random=True),
        ),
        ({"splitter": "ShuffleSplit"}, SchemeMeaning((), control=True, random=True)),
        ({"splitter": "RepeatedKFold"}, SchemeMeaning((), control=True, random=True)),
        (
            {"hold_out": "model", "disjoint": ("op", "n", "k")},
            SchemeMeaning(("model",), control=False, disjoint=("k", "n", "op")),
        ),
        (
            {"splitter": "KFold", "disjoint": ("op", "n")},
            SchemeMeaning(("n", "op"), control=False, several=True, disjoint=("n", "op")),
        ),
        (
            {"hold_out": "experiment_id", "temporal": (0.6, 0.2)},
            SchemeMeaning(("experiment_id",), control=False, temporal=True),
        ),
        (
            {"splitter": "KFold", "within": "model"},
            SchemeMeaning((), control=True, within=("model",)),
        ),
        (
            {"splitter": "GroupKFold", "hold_out": "op", "within": ("model", "gpu")},
            SchemeMeaning(("op",), control=False, several=True, within=("model", "gpu")),
        ),
        ({"splitter": "Resubstitution"}, SchemeMeaning((), control=True, in_sample=True)),
    ],
)
@pytest.mark.parametrize("name", ["lomo", "random", "mine"])
def test_a_study_says_what_its_schemes_mean_whatever_they_are_called(
    spec: dict[str, Any], meaning: SchemeMeaning, name: str
) -> None:
    assert scheme_meanings([SchemeSpec(name=name, **spec)]) == {name: meaning}


@given(
    st.dictionaries(
        st.text(),
        st.builds(
            SchemeMeaning,
            st.lists(st.text(min_size=1)).map(tuple),
            control=st.booleans(),
            several=st.booleans(),
            disjoint=st.lists(st.text(min_size=1)).map(tuple),
            random=st.booleans(),
            temporal=st.booleans(),
            within=st.lists(st.text(min_size=1)).map(tuple),
            in_sample=st.booleans(),
        ),
    )
)
def test_meanings_come_back_from_json_as_they_were(meanings: dict[str, SchemeMeaning]) -> None:
    text = json.dumps({name: meaning.to_json() for name, meaning in meanings.items()})
    assert schemes_from_json(json.loads(text)) == meanings


def test_what_an_entry_leaves_out_is_taken_from_the_name() -> None:
    assert schemes_from_json(None) == {}
    assert schemes_from_json({"lomo": {}, "random": {}, "cv": {"control": True}}) == {
        "lomo": LOMO,
        "random": SchemeMeaning((), control=True, random=True),
        "cv": SchemeMeaning((), control=True),
    }
    stored = {"lomo": {"held_out": ["gpu"], "control": False}}
    assert schemes_from_json(stored) == {"lomo": SchemeMeaning(("gpu",), control=False)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"manifest\.json: schemes is \[\], not a table"),
        ({"a": None}, r"schemes\.a is None, which does not say"),
        ({"a": {"held_out": "model"}}, r"schemes\.a is \{'held_out': 'model'\}"),
        ({"a": {"held_out": [""]}}, r"schemes\.a"),
        ({"a": {"control": "no"}}, r"schemes\.a"),
        ({"a": {"random": 1}}, r"schemes\.a"),
        ({"a": {"disjoint": "n"}}, r"schemes\.a"),
        ({"a": {"within": "n"}}, r"schemes\.a"),
        ({"a": {"temporal": [0.6, 0.2]}}, r"schemes\.a"),
        ({"a": {"in_sample": None}}, r"schemes\.a"),
    ],
)
def test_damaged_meanings_are_named(content: object, message: str) -> None:
    with pytest.raises(RunError, match=message):
        schemes_from_json(content)


@pytest.mark.parametrize(
    ("scheme", "held_out", "control"),
    [
        ("lomo", ("model",), False),
        ("lowo", ("workload",), False),
        ("leave-one-gpu-out", ("gpu",), False),
        ("leave-one--out", (), False),
        ("mine", (), False),
        ("random", (), True),
    ],
)
def test_a_recorded_scheme_is_known_by_its_name(
    scheme: str, held_out: tuple[str, ...], control: bool
) -> None:
    assert meaning_by_name(scheme) == SchemeMeaning(held_out, control, random=control)


@pytest.mark.parametrize(
    ("meaning", "title"),
    [
        (LOMO, "leave one model out"),
        (SchemeMeaning(("model", "workload"), False), "leave one model x workload out"),
        (
            SchemeMeaning(("model",), False, several=True),
            "groups of model held out, one or more at a time",
        ),
        (SchemeMeaning((), True), "leave rows out whatever their group (control)"),
        (SchemeMeaning((), False), "leave one group out"),
        (SchemeMeaning(("gpu",), False), "leave one GPU out"),
        (SchemeMeaning(("engine", "engine_version"), False), "leave one engine version out"),
        (
            SchemeMeaning(("model",), False, disjoint=("k", "n")),
            "leave one model out, no k x n shared",
        ),
        (
            SchemeMeaning(("k", "n"), False, several=True, disjoint=("k", "n")),
            "groups of k x n held out, one or more at a time",
        ),
        (
            SchemeMeaning(("experiment_id",), False, temporal=True),
            "leave the last rows of one experiment out, learn from the first of all",
        ),
        (
            SchemeMeaning(("op",), False, several=True, within=("model", "gpu")),
            "groups of operator held out inside each combination of model and GPU, one or more at "
            "a time",
        ),
        (
            SchemeMeaning((), True, within=("model",)),
            "leave rows out inside each model (control)",
        ),
        (SchemeMeaning((), True, in_sample=True), "test the training rows (control)"),
    ],
)
def test_a_title_says_what_is_left_out(meaning: SchemeMeaning, title: str) -> None:
    assert meaning.title == title


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("model",), "a model"),
        (("experiment_id",), "an experiment"),
        (("gpu",), "a GPU"),
        (("tp",), "a tensor-parallel degree"),
        (("engine",), "an engine"),
        (("engine_version",), "an engine version"),
        (("engine", "engine_version"), "an engine version"),
        (("op",), "an operator"),
        (("dtype",), "a number format"),
        (("image",), "an image"),
        (("gpu", "tp", "model"), "a combination of GPU, tensor-parallel degree and model"),
        (("engine_version", "engine", "gpu"), "a combination of engine version and GPU"),
        ((), "a group"),
    ],
)
def test_a_held_out_group_is_spoken_of_with_its_article(
    columns: tuple[str, ...], words: str
) -> None:
    assert SchemeMeaning(columns, control=False).a_group == words


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("model",), "of a model"),
        (("gpu",), "on a GPU"),
        (("tp",), "at a tensor-parallel degree"),
        (("engine", "engine_version"), "with an engine version"),
        (("dtype",), "in a number format"),
        (("gpu", "tp"), "of a combination of GPU and tensor-parallel degree"),
        ((), "of a group"),
    ],
)
def test_rows_of_a_held_out_group_are_spoken_of_with_its_preposition(
    columns: tuple[str, ...], words: str
) -> None:
    assert SchemeMeaning(columns, control=False).of_a_group == words


@pytest.mark.parametrize(
    ("meaning", "unseen", "words"),
    [
        (LOMO, True, "a model it has never seen"),
        (
            SchemeMeaning(("experiment_id",), False, temporal=True),
            False,
            "the last rows of an experiment whose first rows it has seen",
        ),
        (
            SchemeMeaning(("op",), False, several=True, within=("model",)),
            False,
            "rows of an operator kept from it inside each model",
        ),
        # No training row shares a shape that is tested, whatever it is split inside.
        (
            SchemeMeaning(("m",), False, several=True, disjoint=("m",), within=("model",)),
            True,
            "a m it has never seen",
        ),
    ],
)
def test_only_groups_that_training_lacks_are_called_unseen(
    meaning: SchemeMeaning, unseen: bool, words: str
) -> None:
    assert (meaning.unseen, meaning.asked) == (unseen, words)
    assert meaning.an_unseen_group == (f"an unseen {meaning.group}" if unseen else words)


@pytest.mark.parametrize(
    ("meaning", "words"),
    [
        (SchemeMeaning((), True), "a split of rows"),
        (SchemeMeaning((), True, random=True), "a random split"),
        (SchemeMeaning((), True, random=True, within=("gpu",)), "a random split inside each GPU"),
        (SchemeMeaning((), True, in_sample=True), "the training rows themselves"),
    ],
)
def test_a_control_says_how_it_splits(meaning: SchemeMeaning, words: str) -> None:
    assert meaning.split == words
    assert not meaning.unseen
