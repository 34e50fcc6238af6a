"""How rows are held out, as a study says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from gpucv.study.section import Name, Section

__all__ = ["RESUBSTITUTION", "FewShotSpec", "SchemeSpec"]

RESUBSTITUTION = "Resubstitution"
"""The splitter that tests on the training rows: what a fit scores on its own data."""


_MOST_FOLDS = 100_000

Share = Annotated[float, Field(gt=0, lt=1)]


class FewShotSpec(Section):
    """How the error falls with measurements of the group held out.

    Attributes
    ----------
    k : tuple of int
        Numbers of measured rows of the held-out group to learn from.
    start : tuple of {"warm", "alone"}
        "warm": begin with what the other groups taught and correct it by the k rows;
        "alone": learn from the k rows and nothing else (from k = 1 on).
    draw : tuple of {"random", "spread"}
        Which k rows: at random, or each next one the farthest in features from those
        already chosen.
    repeats : int
        Draws for every k; the test rows are the same for all k of one repeat.
    test_fraction : float
        Share of the held-out group's rows that are never drawn, and tested.
    """

    k: tuple[Annotated[int, Field(ge=0)], ...] = (0, 10, 30, 100, 300, 1000)
    start: tuple[Literal["warm", "alone"], ...] = ("warm", "alone")
    draw: tuple[Literal["random", "spread"], ...] = ("random",)
    repeats: int = Field(default=5, ge=1, le=1000)
    test_fraction: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _must_list_each_once(self) -> Self:
        for name in ("k", "start", "draw"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                msg = f"{name} must list at least one value, each once"
                raise ValueError(msg)
        return self


class SchemeSpec(Section):
    """How rows are held out.

    Attributes
    ----------
    name : str
        ``lomo`` and ``lowo`` by convention; shown in every table.
    hold_out : str or tuple of str
        Column, or columns whose combinations are the groups.
    p : int
        Groups held out together (leave-P-groups-out).
    splitter : str
        Instead of leave-P-groups-out, a class of ``sklearn.model_selection``
        (``"GroupKFold"``, ``"KFold"``, ...), made with `params`; one that keeps
        groups together takes them from `hold_out`.
    params : dict
        What the splitter is made with.
    within : str or tuple of str
        Columns inside whose groups the splitter splits, group by group: fold i tests the
        i-th part of every group (``order_by`` orders the rows of a group).
    temporal : tuple of two floats
        Instead of whole groups: each fold tests the tail of one group of `hold_out`, which
        must be a recording, as time has an order only inside one. The first share of every
        group's rows is fitted to, the second validates, the rest of all other groups is
        left out.
    few_shot : FewShotSpec, optional
        Beside each fold, a curve of folds that measure a few rows of the group held out.
    disjoint : str or tuple of str
        Columns that describe a row's shape (``["op", "n", "k"]``): rows that share a
        combination of them with a row held out are left out of training, and so of
        validation. A missing value is a value of its own.
    """

    name: Name
    hold_out: Name | tuple[Name, ...] = ()
    disjoint: Name | tuple[Name, ...] = ()
    p: int = Field(default=1, ge=1, le=1_000)
    splitter: str = ""
    params: dict[str, Any] = Field(default_factory=dict)
    within: Name | tuple[Name, ...] = ()
    temporal: tuple[Share, Share] | None = None
    few_shot: FewShotSpec | None = None

    @property
    def within_columns(self) -> tuple[str, ...]:
        """The columns of `within`."""
        return (self.within,) if isinstance(self.within, str) else self.within

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose combinations are the groups."""
        return (self.hold_out,) if isinstance(self.hold_out, str) else self.hold_out

    @property
    def shape(self) -> tuple[str, ...]:
        """The columns of `disjoint`, each once, sorted: their order means nothing."""
        named = (self.disjoint,) if isinstance(self.disjoint, str) else self.disjoint
        return tuple(sorted(set(named)))

    @model_serializer(mode="wrap")
    def _unsaid_where_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not set: fingerprints and keys of earlier studies stay theirs."""
        said: dict[str, Any] = serialise(self)
        for name in ("disjoint", "within", "temporal", "few_shot"):
            if not getattr(self, name):
                said.pop(name, None)
        return said

    @model_validator(mode="after")
    def _must_say_what_is_held_out(self) -> Self:
        if not self.columns and not self.splitter:
            msg = "needs hold_out (a column) or splitter (a class of sklearn.model_selection)"
            raise ValueError(msg)
        if self.params and not self.splitter:
            msg = "params belong to a splitter, and none is named"
            raise ValueError(msg)
        folds = self.params.get("n_splits")
        if isinstance(folds, int) and folds > _MOST_FOLDS:
            msg = f"params.n_splits: at most {_MOST_FOLDS:,} folds are planned, found {folds}"
            raise ValueError(msg)
        if self.p > 1 and self.splitter:
            msg = "p belongs to leave-P-groups-out, not to a splitter"
            raise ValueError(msg)
        whole = [self.p > 1, bool(self.splitter), bool(self.shape)]
        if self.temporal and (any(whole) or sum(self.temporal) >= 1):
            msg = (
                "temporal takes the tail of every group of hold_out: its two shares must leave "
                "some rows, and p, splitter and disjoint have no place"
            )
            raise ValueError(msg)
        if self.splitter == RESUBSTITUTION and (
            self.columns or self.params or self.within or self.shape
        ):
            msg = (
                f"{RESUBSTITUTION} tests on the training rows, all of them: hold_out, params, "
                "within and disjoint have no place"
            )
            raise ValueError(msg)
        if self.within and not self.splitter:
            msg = "within belongs to a splitter, and none is named"
            raise ValueError(msg)
        if self.few_shot and (self.p > 1 or self.splitter or self.temporal):
            msg = "few_shot belongs to whole groups held out one at a time"
            raise ValueError(msg)
        if self.few_shot and self.shape:
            msg = (
                "few_shot measures rows of the group held out, which share their shape with the "
                "rows tested: disjoint has no place beside it; use a scheme for each"
            )
            raise ValueError(msg)
        if self.columns and set(self.columns) <= set(self.shape):
            msg = "disjoint holds all of hold_out, which no training row shares: it leaves none out"
            raise ValueError(msg)
        return self
