"""Data stays data: nothing gpucv reads is ever run, and no shell reads what it starts."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BUILTINS = {"eval", "exec", "__import__", "compile"}
# Those of these modules, whatever else has a method of the name (`re.compile`, `frame.eval`).
CALLS = {
    *("os.system", "os.popen", "pandas.read_pickle", "pd.read_pickle", "np.fromregex"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all"),
    *("torch.load", "xml.etree.ElementTree.parse", "tempfile.mktemp"),
}
METHODS = {"to_pickle", "read_pickle", "extractall"}
# Their argument is a SafeLoader of their own.
YAML_LOADERS = {"gpucv.traces.formats.blis.document": "_loader()"}


def offences(tree: ast.AST, name: str = "") -> Iterator[str]:
    """What a module does that runs data, or may."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [str(node.module), *(f"{node.module}.{each.name}" for each in node.names)]
        else:
            imported = []
        yield from (f"imports {each}" for each in imported if each.partition(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            yield from called(node, name)


def called(node: ast.Call, name: str) -> Iterator[str]:
    function = ast.unparse(node.func)
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if function in BUILTINS | CALLS or method in METHODS:
        yield f"calls {function}"
    if function == "yaml.load" and [ast.unparse(each) for each in node.args[1:]] != [
        YAML_LOADERS.get(name)
    ]:
        yield "calls yaml.load"
    runs = {"allow_pickle", "shell"} if function.startswith("subprocess.") else {"allow_pickle"}
    for word in node.keywords:
        if word.arg in runs and ast.unparse(word.value) != "False":
            yield f"gives {word.arg}"


def test_nothing_of_gpucv_reads_or_writes_what_can_be_run(everything: list[Any]) -> None:
    found = {
        module.name: sorted(set(offences(module.tree, module.name)))
        for module in everything
        if not module.name.startswith("tests")
    }
    assert {name: told for name, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import joblib.externals",
        "from dill import loads",
        "from joblib import dump",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "yaml.load(text)",
        "yaml.load(text, yaml.UnsafeLoader)",
        "yaml.unsafe_load(text)",
        "pd.read_pickle(path)",
        "frame.to_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "archive.extractall()",
    ],
)
def test_each_of_these_would_be_found(line: str) -> None:
    assert list(offences(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    ["re.compile(x)", "json.load(file)", "yaml.safe_load(text)", "np.load(path)", "frame.eval"],
)
def test_what_is_harmless_is_not(line: str) -> None:
    assert not list(offences(ast.parse(line)))
