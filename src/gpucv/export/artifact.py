"""Read an artifact set, and ask one of its predictors for times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from gpucv.errors import DataError, StudyError, nearest
from gpucv.export.answers import times_of, whole_microseconds
from gpucv.export.boosters import margins, must_survive, open_booster
from gpucv.export.files import MANIFEST, read_checked, read_manifest_file
from gpucv.export.formulas import evaluate, inputs_of_frame
from gpucv.export.golden import Golden
from gpucv.export.manifest import ArtifactEntry, Manifest, parse_manifest
from gpucv.export.program import INPUTS
from gpucv.export.trees import read_forest

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.export.program import Program

__all__ = ["Artifact", "ArtifactSet", "Predictions"]

_BLOCK_ROWS = 100_000


class Predictions(NamedTuple):
    """Times, and where they are extrapolated.

    Attributes
    ----------
    us : ndarray of int64, shape (n,)
        Whole microseconds, at least 1.
    values : ndarray of float64, shape (n,)
        The same before rounding.
    outside : ndarray of int64, shape (n,)
        How many features lie outside what the predictor learnt from; 0 is none.
    """

    us: NDArray[np.int64]
    values: NDArray[np.float64]
    outside: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Artifact:
    """One predictor of one configuration.

    Attributes
    ----------
    entry : ArtifactEntry
        What the manifest says of it: features, units, ranges, held-out scores.
    program : Program
    booster : xgboost.Booster

    Examples
    --------
    >>> model = ArtifactSet.load("artifacts").model("llama-2-70b")  # doctest: +SKIP
    >>> us, values, outside = model.predict(steps)  # doctest: +SKIP
    """

    entry: ArtifactEntry
    program: Program
    booster: Any

    @property
    def id(self) -> str:
        """``<model>/<gpu>/tp<degree>``, and the engine's version where it is known."""
        return self.entry.id

    def features(self, inputs: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return what the trees compare, shape (n, n_features).

        Parameters
        ----------
        inputs : ndarray of float64, shape (len(INPUTS), n)
            NaN where a count is not known.
        """
        features = self.entry.features
        undefined = [np.nan if f.undefined is None else f.undefined for f in features]
        return evaluate(self.program, [f.register_ for f in features], undefined, inputs)

    def answers(
        self, inputs: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
        """Return features, margins and times (NaN where there is none) of batches."""
        entry = self.entry
        X = self.features(inputs)
        z = margins(self.booster, X)
        reference = None
        if entry.reference is not None:
            (reference,) = self.program.run(inputs, [entry.reference])
        return X, z, times_of(z, entry.transform, reference, entry.smearing, entry.floor_us)

    def predict(self, steps: pd.DataFrame | Mapping[str, Any]) -> Predictions:
        """Return the time of each step.

        Parameters
        ----------
        steps : DataFrame or mapping of str to array
            Columns of `gpucv.export.program.INPUTS`; those it lacks are not known.

        Raises
        ------
        DataError
            If there is none of these columns, one holds no numbers, or some step has no time.
        """
        import pandas as pd

        frame = pd.DataFrame(dict(steps)) if isinstance(steps, Mapping) else steps
        if not any(name in frame.columns for name in INPUTS):
            msg = f"the steps have none of the columns {', '.join(INPUTS)}"
            raise DataError(msg)
        values, outside = np.empty(len(frame)), np.empty(len(frame), dtype=np.int64)
        for start in range(0, len(frame), _BLOCK_ROWS):
            place = slice(start, start + _BLOCK_ROWS)
            X, _, values[place] = self.answers(inputs_of_frame(frame.iloc[place]))
            outside[place] = self.outside(X)
        lost = np.flatnonzero(np.isnan(values))
        if len(lost):
            msg = (
                f"{len(lost):,} of {len(frame):,} steps have no time (first: row {lost[0]}): what "
                f"{self.id!r} multiplies by is not known there; fill in the counts of the batch"
            )
            raise DataError(msg)
        return Predictions(whole_microseconds(values), values, outside)

    def outside(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return how many of each row's features lie outside the rows learnt from."""
        count = np.zeros(len(X), dtype=np.int64)
        for at, feature in enumerate(self.entry.features):
            inside = np.isnan(X[:, at]) & feature.missing
            if feature.range is not None:
                low, high = np.array(feature.range, dtype=np.float32)
                inside |= (X[:, at] >= low) & (X[:, at] <= high)
            count += ~inside
        return count


class ArtifactSet:
    """A folder of predictors, one per configuration, read from `load`."""

    def __init__(self, root: Path, manifest: Manifest, *, trusted: bool) -> None:
        self.root = root
        self.manifest = manifest
        self._trusted = trusted

    @classmethod
    def load(cls, folder: Path | str, *, trusted: bool = False) -> Self:
        """Read the manifest of a set; its models are opened when they are asked for.

        Parameters
        ----------
        folder : path
        trusted : bool
            Whether the set is one's own. A stranger's models are opened as JSON alone, and
            first by a process of their own, as a damaged file may end the one that reads it.

        Raises
        ------
        DataError
            If there is no such set, or its manifest is damaged or of a later version.
        """
        root = Path(folder)
        return cls(root, parse_manifest(read_manifest_file(root), root / MANIFEST), trusted=trusted)

    @property
    def ids(self) -> list[str]:
        """The ids of all artifacts, in the order of the manifest."""
        return [entry.id for entry in self.manifest.artifacts]

    def entry(self, name: str) -> ArtifactEntry:
        """Return what the manifest says of the artifact called `name`, by id or alias.

        Raises
        ------
        StudyError
            If there is none, or several are of that model.
        """
        asked = _fold(name)
        bare = asked.rpartition("/")[2]
        named: dict[str, ArtifactEntry] = {}
        for entry in self.manifest.artifacts:
            named |= {_fold(alias): entry for alias in entry.aliases}
        named |= {_fold(entry.id): entry for entry in self.manifest.artifacts}
        found = named.get(asked) or named.get(bare)
        if found is not None:
            return found
        same = [e.id for e in self.manifest.artifacts if _fold(e.model) in (asked, bare)]
        if same:
            msg = f"model {name!r} has several artifacts here; name one: {', '.join(same)}"
            raise StudyError(msg)
        msg = f"no model {name!r} in {self.root}{nearest(asked, named)}; it has "
        raise StudyError(msg + ", ".join(self.ids))

    def model(self, name: str) -> Artifact:
        """Return the predictor called `name`, opened.

        Raises
        ------
        StudyError
            If there is none, or several are of that model.
        DataError
            If one of its files is missing, changed or damaged.
        """
        entry = self.entry(name)
        program = entry.checked_program()
        golden = self._golden(entry)
        content = read_checked(self.root, entry.model_files.json_)
        whole = read_checked(self.root, entry.model_files.ubj) if self._trusted else b""
        try:
            forest = read_forest(content)
            holds = (forest.features, len(forest.depths), np.float32(forest.base_score))
            if holds != (len(entry.features), entry.trees, np.float32(entry.base_score)):
                msg = "its features, trees or base score are not those the manifest says"
                raise DataError(msg)
            if self._trusted:
                booster = open_booster(whole)
            else:
                must_survive(content, golden.features, golden.margins)
                booster = open_booster(content)
        except DataError as error:
            msg = f"{self.root / entry.model_files.json_.path}: {error}"
            raise DataError(msg) from error
        return Artifact(entry, program, booster)

    def golden(self, name: str) -> Golden:
        """Return the golden rows of the artifact called `name`.

        Raises
        ------
        StudyError, DataError
            As `model`.
        """
        return self._golden(self.entry(name))

    def _golden(self, entry: ArtifactEntry) -> Golden:
        content = read_checked(self.root, entry.golden)
        try:
            raw = json.loads(content)
            return Golden.from_json(raw, len(entry.features), entry.golden.rows)
        except (ValueError, RecursionError, DataError) as error:
            msg = f"{self.root / entry.golden.path}: {str(error)[:200]}; get the set again"
            raise DataError(msg) from error


def _fold(name: str) -> str:
    """Fold a name for look-up."""
    return name.strip().lower()
