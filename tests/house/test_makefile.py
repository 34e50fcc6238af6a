"""The Makefile offers what the documents name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", ".ci/run"]


def make(*arguments: str) -> str:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "--no-print-directory", "-C", str(REPOSITORY), *arguments]
    # The make that may run these tests hands its own arguments down in the environment.
    clean = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, env=clean, check=True, capture_output=True, text=True).stdout


def targets() -> set[str]:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_target_a_document_names_exists(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    # In code only: prose may say "make sure".
    code = re.findall(r"`make ([a-z-]+)|^ *make ([a-z-]+)", text, flags=re.MULTILINE)
    assert {first or second for first, second in code} <= targets()


def test_the_contributors_guide_names_the_targets_to_work_with() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {"test", "lint", "lock", "setup"} <= set(re.findall(r"make ([a-z-]+)", text))


def test_every_target_is_phony_and_helped() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)
    assert set(phony.split()) == targets()
    assert {line.split()[1] for line in make("help").splitlines()} == targets()


def test_make_alone_lists_the_targets() -> None:
    assert make() == make("help")


def test_the_study_goes_where_it_is_told_even_with_a_space() -> None:
    told = make("-n", "study", "OUT=my runs/first", "EXTRA=cuda12")
    assert 'gpucv run examples/h3-generalization.toml --out "my runs/first"' in told
    assert "--extra cuda12" in told


def test_arguments_reach_pytest() -> None:
    told = make("-n", "test", "ARGS=tests/splits -k lomo", "JOBS=1")
    assert told.rstrip().endswith("tests/splits -k lomo")
    assert " -n 1" not in told, "one job runs in pytest's own process"


def test_ci_is_a_program_that_bash_can_read() -> None:
    ci = REPOSITORY / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert subprocess.run(["bash", "-n", str(ci)], check=False).returncode == 0
