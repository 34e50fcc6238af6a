from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import TraceError
from gpucv.traces.formats.otel.recording import Recording, describe_recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog


def describe(folder: Path, catalog: Catalog) -> Recording:
    return describe_recording(folder, f"{folder.name}/traces.json", catalog)


@pytest.mark.parametrize(
    ("name", "model", "tp", "workload"),
    [
        ("20260217-202857-llama-2-70b-tp4-general", "llama-2-70b", 4, "general"),
        ("20260218-065057-llama-2-70b-hf-tp4-codegen", "llama-2-70b", 4, "codegen"),
        ("20260218-111111-mixtral-8x7b-v0-1-tp2-roleplay", "mixtral-8x7b-v0-1", 2, "roleplay"),
        ("20260301-000000-llama-2-7b-tp1-reasoning-lite", "llama-2-7b", 1, "reasoning-lite"),
        ("41-llama-2-7b-tp1-general-lite-2-1", "llama-2-7b", 1, "general-lite-2-1"),
        ("exp41-llama-2-7b-tp1-general-2", "llama-2-7b", 1, "general-2"),
        ("llama-2-7b-tp1-general", "llama-2-7b", 1, "general"),
        ("20260301-000000-my-tp8-model-tp16-general", "my-tp8-model", 16, "general"),
    ],
)
def test_a_folder_name_alone_tells_model_tp_and_workload(
    write_recording: Callable[..., Path],
    catalog: Catalog,
    name: str,
    model: str,
    tp: int,
    workload: str,
) -> None:
    found = describe(write_recording(name, config={}), catalog)
    assert (found.experiment_id, found.model, found.tp, found.workload) == (
        name,
        model,
        tp,
        workload,
    )
    assert found.gpu is None
    assert [note.code for note in found.notes] == ["no_exp_config", "gpu_not_named"]


def test_the_config_is_right_where_the_folder_name_differs(
    write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    config = {
        "model": "codellama/CodeLlama-34b-Instruct-hf",
        "tensor_parallelism": 2,
        "gpu": "H100_SXM",
    }
    folder = write_recording("20260217-202857-llama-2-70b-tp4-general", config=config)
    found = describe(folder, catalog)
    assert (found.model, found.tp, found.gpu) == ("codellama-34b", 2, "h100")
    assert [note.code for note in found.notes] == ["model_differs", "tp_differs"]


def test_a_slug_and_a_repository_of_one_model_do_not_differ(
    write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    found = describe(write_recording("20260218-065057-llama-2-70b-hf-tp4-codegen"), catalog)
    assert found.model == "llama-2-70b"
    assert [note.code for note in found.notes] == ["gpu_not_named"]


def test_names_the_catalog_does_not_know_are_kept(
    write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    config = {"model": "org/New-9B", "tensor_parallelism": 1, "gpu": "tpu-v9", "workload": "chat"}
    found = describe(write_recording("whatever", config=config), catalog)
    assert (found.model, found.gpu, found.workload) == ("org/New-9B", "tpu-v9", "chat")


@pytest.mark.parametrize(
    ("failures", "share"),
    [((85, 15), "85.0% of requests failed (85 of 100)"), ((3, 0), "100.0% of requests failed")],
)
def test_failed_requests_are_warned_of_with_their_share(
    write_recording: Callable[..., Path], catalog: Catalog, failures: tuple[int, int], share: str
) -> None:
    *_, note = describe(write_recording(failures=failures), catalog).notes
    assert (note.code, note.level, note.count) == ("overload", "warning", failures[0])
    assert share in note.message


def test_no_failed_request_is_not_worth_a_word(
    write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    notes = describe(write_recording(failures=(0, 100)), catalog).notes
    assert [note.code for note in notes] == ["gpu_not_named"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"failures": 3}', '{"failures": {"count": "x"}}']
)
def test_an_unreadable_summary_is_noted_and_does_not_stop_the_reading(
    write_recording: Callable[..., Path], catalog: Catalog, content: str
) -> None:
    folder = write_recording(failures=(1, 1))
    (folder / "results/summary_lifecycle_metrics.json").write_text(content)
    *_, note = describe(folder, catalog).notes
    assert note.code == "lifecycle_unreadable"


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("whatever", {}, "no model in exp-config.yaml, nor in the folder name 'whatever'"),
        ("whatever", {"model": "a"}, "no tensor_parallelism in exp-config.yaml"),
        ("whatever", {"model": "a", "tensor_parallelism": 1}, "no workload in exp-config.yaml"),
        ("x-tp1-y", {"model": 7}, "model in exp-config.yaml is 7, not a name"),
        ("x-tp1-y", {"tensor_parallelism": 0}, "tensor_parallelism in exp-config.yaml is 0"),
        ("x-tp1-y", {"tensor_parallelism": "yes"}, "tensor_parallelism in .* is True"),
        ("x-tp1-y", "[1, 2]", "exp-config.yaml holds list, not keys and values"),
        ("x-tp1-y", "model: [", "exp-config.yaml is no YAML"),
        ("x-tp1-y", "model: !!python/object/apply:os.system [id]", "exp-config.yaml is no YAML"),
        ("x-tp1-y", b"\xff\xfe\x00", "exp-config.yaml is no YAML"),
        ("x-tp1-y", b" " * (2**24 + 1), "exp-config.yaml is larger than 16 MiB"),
    ],
)
def test_a_recording_that_does_not_say_what_it_is_is_refused(
    write_recording: Callable[..., Path], catalog: Catalog, name: str, config: Any, message: str
) -> None:
    folder = write_recording(name, config=config if isinstance(config, dict) else {})
    if not isinstance(config, dict):
        content = config if isinstance(config, bytes) else config.encode()
        (folder / "exp-config.yaml").write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        describe(folder, catalog)
    assert "\n" not in str(caught.value)
