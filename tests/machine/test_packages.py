from __future__ import annotations

from typing import Any

import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.machine import (
    frame_library,
    package_versions,
    require_xgboost,
    xgboost_distributions,
)


@pytest.mark.parametrize("name", ["xgboost_cpu", "xgboost", "xgboost_cu12", "xgboost_cu13"])
def test_the_one_xgboost_installed_is_found_under_any_of_its_names(name: str, install: Any) -> None:
    install(**{name: "3.2.0"})
    assert require_xgboost() == name.replace("_", "-")
    assert xgboost_distributions() == {name.replace("_", "-"): "3.2.0"}


@pytest.mark.fault(12)
def test_two_xgboost_wheels_are_refused_with_the_way_out(install: Any) -> None:
    install(xgboost_cpu="3.2.0", xgboost="3.1.1")
    with pytest.raises(
        EnvironmentFaultError,
        match=r"xgboost-cpu 3.2.0 and xgboost 3.1.1 are both installed.*"
        r"pip uninstall -y xgboost-cpu xgboost, then pip install",
    ):
        require_xgboost()


def test_a_missing_xgboost_is_said_with_what_to_install(install: Any) -> None:
    install(numpy="2.0.0")
    with pytest.raises(EnvironmentFaultError, match=r"XGBoost is missing: pip install.*gpucv\[cpu"):
        require_xgboost()


def test_versions_name_what_numbers_depend_on(install: Any) -> None:
    install(xgboost_cu12="3.3.0", numpy="2.1.0", pandas="2.2.3", cudf_cu12="26.10.2")
    found = package_versions()
    assert list(found) == ["python", "gpucv", "numpy", "pandas", "cudf-cu12", "xgboost-cu12"]
    assert (found["numpy"], found["xgboost-cu12"]) == ("2.1.0", "3.3.0")


@pytest.mark.parametrize(
    ("packages", "library"),
    [
        (("cudf_cu13", "cupy_cuda13x"), "cudf"),
        (("cudf",), "cudf"),
        (("cupy_cuda12x", "numpy"), "cupy"),
        (("cupy",), "cupy"),
        (("numpy", "pandas"), "numpy"),
    ],
)
def test_tables_on_a_gpu_are_computed_with_the_best_library_there(
    packages: tuple[str, ...], library: str, install: Any
) -> None:
    install(**dict.fromkeys(packages, "1.0.0"))
    assert frame_library() == library
