from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpucv.cli.main import _COMMANDS, build_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


def test_the_first_page_names_every_command(gpucv: Command) -> None:
    outcome = gpucv("-h")
    assert outcome.code == 0
    for name, (_, told) in _COMMANDS.items():
        assert name in outcome.out
        assert told in outcome.out
    assert gpucv("--help") == outcome
    assert gpucv() == outcome._replace(code=2)


def test_the_version_is_the_packages(gpucv: Command) -> None:
    import gpucv as package

    assert gpucv("--version").out.strip() == package.__version__


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_option_of_a_command_is_in_its_help(name: str, gpucv: Command) -> None:
    outcome = gpucv(name, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    arguments = [a for a in build_app()[name].assemble_argument_collection() if not a.children]
    assert arguments
    for argument in arguments:
        told = argument.parameter.help
        assert told, f"{name} {argument.name} says nothing of itself"
        assert argument.name in outcome.out
        assert told.split()[0] in outcome.out
