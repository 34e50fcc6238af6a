"""Every command and every study on every page works as it stands.

A page's blocks run from top to bottom in one folder. Comments before a block, which readers do
not see, say what a test has to know:

    <!-- file: NAME -->             the block is the content of that file
    <!-- exit: 3 -->                the exit code its last command ends with
    <!-- needs public data -->      the page is skipped where there is none
    <!-- not run: REASON -->        it cannot run here; its options are checked all the same

The launch pages have a test of their own, tests/scripts/test_launch_pages.py.
"""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpucv.cli.main import build_app
from gpucv.study import load_study

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "launch"),
]
RUN = ("sh", "bash", "python")
# Nothing on a page may install anything when a test runs it.
INSTALLERS = ("make", "pip", "uv", "apt", "sudo", "source", "git")
MARKS = {"file", "exit", "needs public data", "not run"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, with what the comments before it say."""

    language: str
    text: str
    marks: dict[str, str]

    @property
    def commands(self) -> list[str]:
        """The shell commands, one each, comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks(text: str) -> list[Block]:
    fence = re.compile(
        r"^((?:<!--[^\n]*-->\n+)*)(`{3,})(\w*)[^\n]*\n(.*?)^\2\n", flags=re.MULTILINE | re.DOTALL
    )
    found = []
    for comments, _, language, body in fence.findall(text):
        said = (each.partition(":") for each in re.findall(r"<!-- *(.*?) *-->", comments))
        marks = {name: value.strip() for name, _, value in said}
        found.append(Block(language, body, marks))
    return found


def of(page: Path) -> list[Block]:
    return blocks(page.read_text(encoding="utf-8"))


def must_exist(command: str) -> None:
    """Check a gpucv command and its options, without running it."""
    words = shlex.split(command, comments=True)
    words = words[: next((at for at, word in enumerate(words) if word in ("|", ">")), None)]
    if words[0].rpartition("/")[2] != "gpucv" or words[1:2] in ([], ["-h"], ["--version"]):
        return
    function, *_ = build_app().parse_args(words[1:], exit_on_error=False, print_error=False)
    assert function.__name__.rstrip("_") == words[1]


def must_install_nothing(block: Block) -> None:
    if block.language != "python":
        assert {command.split()[0] for command in block.commands}.isdisjoint(INSTALLERS)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


RUNNABLE = [
    page for page in PAGES if any(b.language in RUN and "not run" not in b.marks for b in of(page))
]


@pytest.mark.parametrize("page", RUNNABLE, ids=ids)
def test_the_commands_of_a_page_run_as_they_stand(
    page: Path,
    checkout: Path,
    environment: Callable[[], dict[str, str]],
    request: pytest.FixtureRequest,
) -> None:
    if any("needs public data" in block.marks for block in of(page)):
        request.getfixturevalue("shared_data")
    for block in of(page):
        if "file" in block.marks:
            (checkout / block.marks["file"]).write_text(block.text, encoding="utf-8")
        if block.language not in RUN or "not run" in block.marks:
            continue
        must_install_nothing(block)
        if block.language == "python":
            lines = [["python", "-W", "error", "-c", block.text]]
        else:
            lines = [["bash", "-c", command] for command in block.commands]
        for at, command in enumerate(lines, start=1):
            wanted = int(block.marks.get("exit", 0)) if at == len(lines) else 0
            done = subprocess.run(
                command,
                cwd=checkout,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == wanted, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_options_of_every_gpucv_command_exist(page: Path) -> None:
    for block in of(page):
        if block.language in ("sh", "bash"):
            for command in block.commands:
                must_exist(command)
        elif not block.language:
            for command in block.commands:
                if command.startswith(("$ gpucv ", "gpucv ")) and "gpucv: " not in command:
                    must_exist(command.removeprefix("$ "))
    inline = re.findall(r"`(gpucv [a-z]+(?: [^`\n]*)?)`", page.read_text(encoding="utf-8"))
    known = set(build_app())
    assert {command.split()[1] for command in inline} - {"import", "COMMAND"} <= known


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_study_on_a_page_has_keys_that_exist(page: Path, tmp_path: Path) -> None:
    for at, block in enumerate(of(page)):
        if block.language != "toml":
            continue
        tomllib.loads(block.text)
        path = tmp_path / f"{at}.toml"
        named = "" if "[data]" in block.text else '\n[data]\nsteps = ["steps.parquet"]\n'
        path.write_text(block.text + named, encoding="utf-8")
        assert load_study(path).study.schemes


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_mark_is_known_and_what_is_not_run_says_why(page: Path) -> None:
    for block in of(page):
        assert set(block.marks) <= MARKS
        assert block.marks.get("not run", "a reason"), block.text
        if block.language in RUN and "not run" not in block.marks:
            must_install_nothing(block)


def test_pages_have_blocks_to_run_in_every_language() -> None:
    run = [block for page in RUNNABLE for block in of(page) if "not run" not in block.marks]
    assert {block.language for block in run} >= {"sh", "python"}
    assert sum(len(block.commands) for block in run if block.language == "sh") > 15


@pytest.mark.parametrize(
    "wrong",
    [
        "gpucv run study.toml --nodes 4",
        "gpucv runn study.toml",
        "gpucv import vidur profiles/",
        "gpucv audit recordings/ --gpus h100",
    ],
)
def test_a_command_that_does_not_exist_is_found(wrong: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever says so
        must_exist(wrong)


def test_a_block_knows_its_marks_and_its_commands() -> None:
    page = "\n".join(
        (
            "<!-- exit: 3 -->",
            "```sh",
            "# first",
            "gpucv run \\",
            "  a.toml",
            "```",
            "",
            "```",
            "x",
            "```",
            "",
        )
    )
    one, other = blocks(page)
    assert (one.language, one.marks, other.marks) == ("sh", {"exit": "3"}, {})
    assert [shlex.split(command) for command in one.commands] == [["gpucv", "run", "a.toml"]]
    assert list(itertools.chain(other.commands)) == ["x"]
