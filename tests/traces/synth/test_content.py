from __future__ import annotations

import pyarrow as pa

from gpucv.traces.synth.content import ContentDigest

TABLE = pa.table({"name": ["a", "bc", "bc"], "n": [1, 2, 3], "x": [0.5, 1.5, 2.5]})


def digest(*pieces: pa.Table) -> str:
    whole = ContentDigest(pieces[0].schema)
    for piece in pieces:
        whole.update(piece)
    return whole.hexdigest()


def test_how_the_rows_are_cut_into_pieces_does_not_matter() -> None:
    assert digest(TABLE) == digest(TABLE.slice(0, 1), TABLE.slice(1))
    assert digest(TABLE) == digest(pa.concat_tables([TABLE.slice(0, 2), TABLE.slice(2)]))


def test_every_value_the_names_and_the_boundaries_of_text_matter() -> None:
    others = [
        TABLE.set_column(1, "n", [[1, 2, 4]]),
        TABLE.set_column(2, "x", [[0.5, 1.5, 2.25]]),
        TABLE.set_column(0, "name", [["ab", "c", "bc"]]),
        TABLE.rename_columns(["name", "m", "x"]),
        TABLE.take([1, 0, 2]),
    ]
    assert len({digest(TABLE), *map(digest, others)}) == len(others) + 1
