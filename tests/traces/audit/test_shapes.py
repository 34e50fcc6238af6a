from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpucv.traces.audit.shapes import same_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]


def test_models_of_equal_layers_are_found_in_the_catalog(steps: Make, subject_of: Subjects) -> None:
    names = ["llama-2-70b", "llama-3-70b", "codellama-34b", "llama-2-7b", "unheard of"]
    table = pd.concat([steps(5, model=name) for name in names])
    (finding,) = same_shapes(subject_of(table))
    assert (finding.code, finding.level) == ("same_shapes", "info")
    assert finding.figures["groups"] == [
        {"models": ["codellama-34b", "llama-2-70b", "llama-3-70b"], "what": "attention"},
        {"models": ["llama-2-70b", "llama-3-70b"], "what": "MLP"},
    ]
    assert "hold them out together" in finding.message
    two = pd.concat([steps(5, model=name) for name in names[:2]])
    assert same_shapes(subject_of(two))[0].figures["groups"] == [
        {"models": ["llama-2-70b", "llama-3-70b"], "what": "attention and MLP"}
    ]


def test_models_of_other_layers_share_nothing(steps: Make, subject_of: Subjects) -> None:
    table = pd.concat([steps(5, model=name) for name in ("llama-2-7b", "llama-2-70b")])
    assert same_shapes(subject_of(table)) == []
    assert same_shapes(subject_of(steps(5))) == []
    assert same_shapes(subject_of(steps(5).drop(columns="model"))) == []


def test_operators_tell_by_their_own_widths(gemms: Make, subject_of: Subjects) -> None:
    parts = [
        gemms(5, model=model, op=op, n=n, k=k)
        for model, op, n, k in [
            ("a", "up", 100, 50),
            ("b", "up", 100, 50),
            ("c", "up", 100, 51),
            ("a", "down", 7, 9),
            ("c", "down", 7, 9),
            ("b", "pre", 7, 9),  # another operator of the same widths is another kernel
        ]
    ]
    (finding,) = same_shapes(subject_of(pd.concat(parts)))
    found = {tuple(each["models"]): each["what"] for each in finding.figures["groups"]}
    assert found == {("a", "b"): "up", ("a", "c"): "down"}


def test_heads_are_the_widths_of_attention_alone(gemms: Make, subject_of: Subjects) -> None:
    heads = {"num_heads": 64, "num_kv_heads": 8, "head_dim": 128, "n": np.nan, "k": np.nan}
    widths = {"a": 28_672, "b": 22_016}
    parts = [
        gemms(5, model=model, op=op, hidden_size=8192, intermediate_size=width, **heads)
        for model, width in widths.items()
        for op in ("attn_rope", "mlp_act", "post_attention_layernorm")
    ]
    (finding,) = same_shapes(subject_of(pd.concat(parts)))
    assert finding.figures["groups"] == [{"models": ["a", "b"], "what": "attn_rope"}]
