"""Studies with slips and absurd values end with code 2: every fault at once, and a hint."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from gpucv.cli.main import main
from gpucv.errors import StudyError
from gpucv.study import load_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Refused = Callable[..., str]


@pytest.fixture
def refused(
    study: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Refused:
    """Run a study that cannot be run; return the one line that says why."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps(study), encoding="utf-8")

    def call(*sets: str, content: bytes | None = None, file: str = "study.toml") -> str:
        if content is not None:
            path.write_bytes(content)
        words = [word for each in sets for word in ("--set", each)]
        with pytest.raises(SystemExit) as ended:
            main(["run", file, "--out", "run", *words])
        out, err = capfd.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert err.startswith("gpucv: error: ")
        assert err.count("\n") == 1
        assert not (tmp_path / "run").exists()
        return err

    return call


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[data]\ntagret = 'x'\n", "unknown key 'data.tagret'; did you mean 'target'?"),
        (b"[data]\nsteps = 'x.csv'\n", "data.steps: input should be a valid array"),
        (b"seed = 1\nseed = 2\n", "is not a TOML file: Cannot overwrite a value"),
        (b"[data]\n[data]\n", "is not a TOML file: Cannot declare"),
        (b"[validation]\nfraction = nan\n", "validation.fraction: input should be a finite"),
        (b"[verdict]\nmape_max = inf\n", "verdict.mape_max: input should be a finite"),
        (b"a = " + b"[" * 50_000, "nested too deeply"),
        (b"a" + b".a" * 5_000 + b" = 1", "nested too deeply"),
        (b"name = '\xff'", "is not a TOML file: 'utf-8' codec"),
        (b"\xff\xfen\x00a\x00", "is not a TOML file: 'utf-8' codec"),
        (b"name = 'a\x00b'", "is not a TOML file: "),
        (b"seed = " + b"9" * 5_000, "study.toml"),
        (b"seed = 0x" + b"f" * 5_000, "study.toml"),
        (b"include = 'other.toml'\n", "unknown key 'include'"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_a_slip_is_told_with_what_was_meant(content: bytes, said: str, refused: Refused) -> None:
    assert said in refused(content=content)


@pytest.mark.fault(40)
def test_every_slip_is_told_at_once(refused: Refused) -> None:
    told = refused(content=b"sed = 1\n[data]\ntagret = 'x'\n[execution]\nworkers = -1\n")
    for said in ("did you mean 'seed'?", "did you mean 'target'?", "execution.workers: "):
        assert said in told


@pytest.mark.fault(40)
def test_of_hundreds_of_slips_the_first_are_told_and_the_rest_counted(refused: Refused) -> None:
    told = refused(content="".join(f"key{at} = 1\n" for at in range(300)).encode())
    assert told.count("unknown key") == 20
    assert told.endswith("; and 280 more\n")


@pytest.mark.fault(40)
@pytest.mark.parametrize("name", ["stduy.toml", "study.tmol", "study"])
def test_the_nearest_study_beside_a_mistyped_one_is_named(name: str, refused: Refused) -> None:
    assert refused(file=name).endswith("No such file or directory; did you mean 'study.toml'?\n")


@pytest.mark.fault(40)
def test_nothing_is_guessed_where_nothing_is_near(refused: Refused) -> None:
    for name in ("zzz", "absent/study.toml", "."):
        assert "did you mean" not in refused(file=name)


@pytest.mark.fault(40)
def test_a_hundred_megabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(StudyError, match=r"too large for a study file, which has at most 1,000,0"):
        load_study(path)
    program = (
        "import resource, sys\n"
        "from gpucv.errors import StudyError\n"
        "from gpucv.study import load_study\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + (32 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try: load_study(sys.argv[1])\n"
        "except StudyError: sys.exit(0)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("absurd", "said"),
    [
        ("predictors.1.params.n_estimators=0", "n_estimators"),
        ("predictors.1.params.n_estimators=1000000000", "n_estimators"),
        ("predictors.1.params.max_depth=-3", "max_depth"),
        ("predictors.1.params.max_depth=100000", "max_depth"),
        ("predictors.1.params.learning_rate=0", "learning_rate"),
        ("predictors.1.params.subsample=7", "subsample"),
        ("execution.workers=1000000000", "execution.workers"),
        ("execution.threads_per_fold=1000000000", "execution.threads_per_fold"),
        ("execution.device=cuda:9999999", "execution.device"),
        ("schemes.0.p=1000000000", "schemes.0.p"),
        ("schemes.0={name='s', splitter='KFold', params={n_splits=1000000000}}", "n_splits"),
        ("schemes.0={name='s', hold_out='model', few_shot={repeats=1000000000}}", "repeats"),
        ("validation.early_stopping_rounds=1000000000000", "early_stopping_rounds"),
        ("data.sample=-1", "data.sample"),
        ("seed=10000000000000000000000", "seed"),
        ("predictors.1.sweep={max_depth=" + str(list(range(1, 2000))) + "}", "sweep"),
    ],
)
def test_an_absurd_value_is_refused_by_its_bounds(absurd: str, said: str, refused: Refused) -> None:
    assert said in refused(absurd)


@pytest.mark.fault(41)
def test_all_absurd_values_are_told_at_once(refused: Refused) -> None:
    told = refused("execution.workers=1000000000", "seed=-1", "schemes.0.p=0", "data.sample=-1")
    for key in ("execution.workers", "seed", "schemes.0.p", "data.sample"):
        assert f"{key}: " in told


@pytest.mark.fault(41)
def test_a_gpu_that_is_not_there_is_code_4_and_no_quiet_run_on_the_cpu(
    study: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps(study), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["run", str(path), "--out", str(tmp_path / "run"), "--device", "cuda:99"])
    out, err = capfd.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (4, "", 1)
    assert "cuda:99" in err
    assert not (tmp_path / "run").exists()
