"""What a scheme holds out: taken from the study, never guessed from the scheme's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeGuard

from gpucv.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpucv.study import SchemeSpec

__all__ = ["SchemeMeaning", "meaning_by_name", "scheme_meanings", "schemes_from_json"]


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
    """

    held_out: tuple[str, ...]
    control: bool
    several: bool = False

    @property
    def group(self) -> str:
        """One held-out group in words: ``model``, ``combination of model and workload``."""
        if len(self.held_out) > 1:
            return f"combination of {', '.join(self.held_out[:-1])} and {self.held_out[-1]}"
        return self.held_out[0] if self.held_out else "group"

    @property
    def a_group(self) -> str:
        """`group` with its article."""
        return f"{'an' if self.group[0] in 'aeioAEIO' else 'a'} {self.group}"

    @property
    def title(self) -> str:
        """What the scheme does, as in ``leave one model out``."""
        if self.control:
            return "leave rows out whatever their group (control)"
        columns = " x ".join(self.held_out)
        if self.several:
            return f"groups of {columns} held out, one or more at a time"
        return f"leave one {columns or 'group'} out"

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values: ``held_out, control, several``."""
        return {**asdict(self), "held_out": list(self.held_out)}


def scheme_meanings(schemes: Iterable[SchemeSpec]) -> dict[str, SchemeMeaning]:
    """Return what each scheme of a study means, by its name.

    A scikit-learn splitter without ``hold_out`` is a control. Leave-P-groups-out with
    ``p`` above 1, and any splitter but ``LeaveOneGroupOut``, may hold out several groups.
    """
    return {
        spec.name: SchemeMeaning(
            held_out=tuple(spec.columns),
            control=not spec.columns,
            several=bool(spec.columns)
            and (spec.p > 1 or spec.splitter not in ("", "LeaveOneGroupOut")),
        )
        for spec in schemes
    }


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
    return SchemeMeaning(known.get(scheme, ()), control=scheme == "random")


def _from_json(name: str, entry: object) -> SchemeMeaning:
    if isinstance(entry, Mapping):
        filled = {**meaning_by_name(name).to_json(), **entry}
        columns, control, several = (filled[key] for key in ("held_out", "control", "several"))
        if _are_names(columns) and isinstance(control, bool) and isinstance(several, bool):
            return SchemeMeaning(tuple(columns), control, several)
    raise RunError(
        f"manifest.json: schemes.{name} is {entry!r:.80}, which does not say what is held out; "
        f"start a new run"
    )


def _are_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)
