"""What a scheme holds out: taken from the study, never guessed from the scheme's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, TypeGuard

from gpucv.errors import RunError
from gpucv.schema import DTYPE, ENGINE, ENGINE_VERSION, EXPERIMENT, GPU, OP, TP
from gpucv.study import RESUBSTITUTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpucv.study import SchemeSpec

__all__ = ["SchemeMeaning", "meaning_by_name", "scheme_meanings", "schemes_from_json"]

_SPOKEN = {
    EXPERIMENT: ("experiment", "of"),
    GPU: ("GPU", "on"),
    TP: ("tensor-parallel degree", "at"),
    ENGINE: ("engine", "with"),
    ENGINE_VERSION: ("engine version", "with"),
    OP: ("operator", "of"),
    DTYPE: ("number format", "in"),
}
"""How a column's values are spoken of: one of them, and rows "on" or "at" it."""


@dataclass(frozen=True, slots=True)
class SchemeMeaning:
    """What the folds of one scheme hold out.

    Attributes
    ----------
    held_out : tuple of str
        Columns whose values, or combinations of values, are the groups held out.
        Empty for a control, and where it is not known.
    control : bool
        Whether rows are held out whatever group they belong to: shown for contrast,
        never part of a verdict.
    several : bool
        Whether one fold may hold out more than one group.
    disjoint : tuple of str
        Columns of which no training row shares a combination with a row held out.
    random : bool
        Whether rows are drawn at random.
    temporal : bool
        Whether the last rows of a group are held out, and its first are learnt from.
    within : tuple of str
        Columns inside whose groups rows are held out: all of those groups are learnt from.
    in_sample : bool
        Whether the rows tested are those learnt from.
    """

    held_out: tuple[str, ...]
    control: bool
    several: bool = False
    disjoint: tuple[str, ...] = ()
    random: bool = False
    temporal: bool = False
    within: tuple[str, ...] = ()
    in_sample: bool = False

    @property
    def unseen(self) -> bool:
        """Whether no training row belongs to a group that is tested."""
        inside_but_apart = bool(self.disjoint) and self.held_out == self.disjoint
        seen = self.temporal or (bool(self.within) and not inside_but_apart)
        return not (self.control or seen)

    @property
    def _spoken(self) -> list[tuple[str, str]]:
        return _spoken(self.held_out)

    @property
    def group(self) -> str:
        """One held-out group in words: ``model``, ``combination of model and GPU``."""
        return _one_of(self.held_out)

    @property
    def a_group(self) -> str:
        """`group` with its article."""
        return f"{'an' if self.group[0] in 'aeioAEIO' else 'a'} {self.group}"

    @property
    def of_a_group(self) -> str:
        """`a_group` with the preposition rows have: ``of a model``, ``on a GPU``."""
        spoken = self._spoken
        return f"{spoken[0][1] if len(spoken) == 1 else 'of'} {self.a_group}"

    @property
    def asked(self) -> str:
        """What is predicted: ``a model it has never seen``, unless training saw its groups."""
        if self.temporal:
            return f"the last rows {self.of_a_group} whose first rows it has seen"
        if not self.unseen and self.within:
            return f"rows {self.of_a_group} kept from it inside each {_one_of(self.within)}"
        return f"{self.a_group} it has never seen"

    @property
    def an_unseen_group(self) -> str:
        """`asked`, the short way where it can be: ``an unseen model``."""
        return f"an unseen {self.group}" if self.unseen else self.asked

    @property
    def split(self) -> str:
        """How a control splits: ``a random split``."""
        if self.in_sample:
            return "the training rows themselves"
        kind = "a random split" if self.random else "a split of rows"
        return f"{kind} inside each {_one_of(self.within)}" if self.within else kind

    @property
    def title(self) -> str:
        """What the scheme does, as in ``leave one model out``."""
        inside = f" inside each {_one_of(self.within)}" if self.within else ""
        if self.in_sample:
            return "test the training rows (control)"
        if self.control:
            return f"leave rows out{inside or ' whatever their group'} (control)"
        columns = " x ".join(noun for noun, _ in self._spoken)
        if self.temporal:
            return f"leave the last rows of one {columns} out, learn from the first of all"
        shared = "" if set(self.disjoint) <= set(self.held_out) else self.shape
        shared = f", no {shared} shared" if shared else ""
        if self.several:
            return f"groups of {columns} held out{inside}, one or more at a time{shared}"
        return f"leave one {columns or 'group'} out{shared}"

    @property
    def shape(self) -> str:
        """The columns of `disjoint`, as in ``k x n x op``."""
        return " x ".join(self.disjoint)

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values, by the name of each attribute."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def scheme_meanings(schemes: Iterable[SchemeSpec]) -> dict[str, SchemeMeaning]:
    """Return what each scheme of a study means, by its name.

    A scikit-learn splitter without ``hold_out`` is a control, unless ``disjoint`` makes it
    hold shapes out; so is `RESUBSTITUTION`, which tests the training rows.
    Leave-P-groups-out with ``p`` above 1, and any splitter but ``LeaveOneGroupOut``, may
    hold out several groups.
    """
    return {spec.name: _meaning_of(spec) for spec in schemes}


def _meaning_of(spec: SchemeSpec) -> SchemeMeaning:
    held_out = spec.columns or spec.shape
    drawn = spec.params.get("shuffle") or any(
        word in spec.splitter for word in ("Shuffle", "Repeated")
    )
    return SchemeMeaning(
        held_out=held_out,
        control=not held_out,
        several=bool(held_out) and (spec.p > 1 or spec.splitter not in ("", "LeaveOneGroupOut")),
        disjoint=spec.shape,
        random=bool(drawn),
        temporal=spec.temporal is not None,
        within=spec.within_columns,
        in_sample=spec.splitter == RESUBSTITUTION,
    )


def _spoken(columns: Iterable[str]) -> list[tuple[str, str]]:
    """Return each column's noun and preposition; a version is always one of its engine."""
    named = tuple(columns)
    told = [column for column in named if column != ENGINE or ENGINE_VERSION not in named]
    return [_SPOKEN.get(column, (column, "of")) for column in told]


def _one_of(columns: Iterable[str]) -> str:
    *others, last = [noun for noun, _ in _spoken(columns)] or ["group"]
    return f"combination of {', '.join(others)} and {last}" if others else last


def schemes_from_json(content: object) -> dict[str, SchemeMeaning]:
    """Read meanings back from ``{name: SchemeMeaning.to_json()}``.

    Parameters
    ----------
    content : mapping or None
        None gives no meanings; a key missing from an entry is filled in from the
        scheme's name.

    Raises
    ------
    RunError
        The content is something else.
    """
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise RunError(
            f"manifest.json: schemes is {content!r:.60}, not a table of schemes; start a new run"
        )
    return {str(name): _from_json(str(name), entry) for name, entry in content.items()}


def meaning_by_name(scheme: str) -> SchemeMeaning:
    """Return what a scheme of this name means by convention.

    For results that do not say it. ``lomo`` holds out the model, ``lowo`` the
    workload, ``leave-one-<column>-out`` its column, and ``random`` is the control;
    what any other name holds out is not known.
    """
    known = {"lomo": ("model",), "lowo": ("workload",)}
    if scheme.startswith("leave-one-") and scheme.endswith("-out"):
        column = scheme.removeprefix("leave-one-").removesuffix("-out")
        return SchemeMeaning((column,) if column else (), control=False)
    control = scheme == "random"
    return SchemeMeaning(known.get(scheme, ()), control=control, random=control)


def _from_json(name: str, entry: object) -> SchemeMeaning:
    if isinstance(entry, Mapping):
        filled = {**meaning_by_name(name).to_json(), **entry}
        known = {field.name: filled[field.name] for field in fields(SchemeMeaning)}
        names = {key: known[key] for key in ("held_out", "disjoint", "within")}
        flags = [value for key, value in known.items() if key not in names]
        if all(map(_are_names, names.values())) and all(isinstance(each, bool) for each in flags):
            return SchemeMeaning(**{**known, **{key: tuple(names[key]) for key in names}})
    raise RunError(
        f"manifest.json: schemes.{name} is {entry!r:.80}, which does not say what is held out; "
        f"start a new run"
    )


def _are_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)
