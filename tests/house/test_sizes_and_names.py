"""Files and functions that can be read in one go, named after ideas."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
PARAMETERS = 6
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"}


def functions(module: Any) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [each for each in (arguments.vararg, arguments.kwarg) if each]
    return [each.arg for each in named if each.arg not in {"self", "cls"}]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def public_names(module: Any) -> set[str]:
    """Names bound at the top of a module without a leading underscore."""
    names: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names.update(alias.asname or alias.name for alias in node.names)
    return {name for name in names if not name.startswith("_")}


def declared(module: Any) -> list[str] | None:
    """The module's ``__all__``, None if it has none."""
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def test_no_file_is_longer_than_one_sitting(everything: list[Any]) -> None:
    long = {each.name: each.lines for each in everything if each.lines > LINES_OF_A_FILE}
    assert long == {}


def test_no_function_is_longer_than_a_screen(everything: list[Any]) -> None:
    long = {
        f"{module.name}.{function.name}": length(function)
        for module in everything
        for function in functions(module)
        if length(function) > LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_no_function_takes_more_parameters_than_one_can_hold_in_mind(
    everything: list[Any],
) -> None:
    wide = {
        f"{module.name}.{function.name}": len(parameters(function))
        for module in everything
        for function in functions(module)
        if len(parameters(function)) > PARAMETERS
    }
    assert wide == {}


def test_no_file_or_folder_has_a_name_that_says_nothing(everything: list[Any]) -> None:
    nameless = [
        module.name
        for module in everything
        if NAMELESS & {module.path.stem, *module.name.replace("/", ".").split(".")}
    ]
    assert nameless == []


def test_every_public_module_says_what_it_is(package: list[Any]) -> None:
    silent = [module.name for module in package if not ast.get_docstring(module.tree)]
    assert silent == []


def test_every_public_module_says_what_it_offers(package: list[Any]) -> None:
    silent = [
        module.name for module in package if public_names(module) and declared(module) is None
    ]
    assert silent == []


def test_the_scripts_say_what_they_are_too(everything: list[Any]) -> None:
    scripts = [module for module in everything if module.name.startswith("scripts/")]
    assert scripts
    assert all(ast.get_docstring(module.tree) and declared(module) for module in scripts)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(self, a, b, /, c, *d, e, **g): ...", ["a", "b", "c", "e", "d", "g"]),
        ("async def f(cls): ...", []),
    ],
)
def test_every_kind_of_parameter_counts(source: str, found: list[str]) -> None:
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    assert parameters(function) == found
