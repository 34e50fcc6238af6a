"""What the launch pages and the Kubernetes manifest say can be run as it stands."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpucv.cli.main import build_app

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "scripts" / "launch"
PAGES = sorted((ROOT / "docs" / "launch").glob("*.md"))
MANIFEST = LAUNCH / "kubernetes.yaml"

# `dask cuda worker`, dask-cuda 26.10 (dask_cuda/cli.py); the CPU tests have no dask-cuda.
CUDA_WORKER = {
    *("--host", "--interface", "--protocol", "--listen-address", "--contact-address"),
    *("--worker-port", "--name", "--nthreads", "--resources", "--scheduler-file"),
    *("--memory-limit", "--device-memory-limit", "--enable-cudf-spill", "--rmm-async"),
    *("--set-rmm-allocator-for-libs", "--rmm-release-threshold", "--pre-import", "--preload"),
    *("--local-directory", "--death-timeout", "--dashboard", "--no-dashboard"),
    *("--dashboard-address", "--tls-ca-file", "--tls-cert", "--tls-key", "--pid-file"),
}
# srun and sbatch of SLURM 26.05 (doc/man/man1/srun.1, sbatch.1).
SRUN = {"--ntasks", "--ntasks-per-node", "--cpus-per-task", "--no-kill", "--kill-on-bad-exit"}
SBATCH = SRUN | {"--nodes", "--gpus-per-node", "--time", "--signal", "--job-name"}
# DaskCluster, dask-kubernetes 1daa175 (operator/customresources/daskcluster.yaml, templates.yaml)
CLUSTER = {"scheduler", "worker", "idleTimeout"}
SCHEDULER = {"spec", "service", "metadata"}
WORKER = {"spec", "replicas", "metadata"}


def commands(page: Path) -> list[str]:
    """Every line of the page's bash blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def dask_options(kind: str) -> set[str]:
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    if kind == "cuda worker":
        return CUDA_WORKER
    found = {"scheduler": scheduler, "worker": worker}[kind]
    return {name for option in found.params for name in (*option.opts, *option.secondary_opts)}


def must_be_a_dask_command(words: list[str]) -> None:
    """Check ``dask scheduler``, ``dask worker`` or ``dask cuda worker`` option by option."""
    program = "cuda worker" if words[1:3] == ["cuda", "worker"] else words[1]
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= dask_options(program), words


def must_be_a_gpucv_command(words: list[str]) -> None:
    app = build_app()
    command, bound, *_ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert command.__name__ == words[1]
    study = bound.arguments.get("study")
    assert study is None or (ROOT / study).is_file()


def must_call_a_launch_script(words: list[str], variables: list[str]) -> None:
    (script,) = [word for word in words if word.startswith("scripts/launch/")]
    text = (ROOT / script).read_text(encoding="utf-8")
    for variable in variables:
        name = variable.partition("=")[0]
        assert f"${{{name}:" in text, f"{script} does not read {name}"
    before = [word for word in words[: words.index(script)] if word != "sbatch"]
    assert {word.partition("=")[0] for word in before} <= SBATCH
    assert any((ROOT / word).is_file() and word.endswith(".toml") for word in words)


def must_be_right(line: str) -> None:
    """Check one line of a page, by what it calls."""
    words = shlex.split(line)
    variables = list(itertools.takewhile(lambda word: re.match(r"[A-Z_]+=", word), words))
    words = words[len(variables) :]
    if words[0] == "gpucv":
        must_be_a_gpucv_command(words)
    elif words[0] == "dask":
        must_be_a_dask_command(words)
    elif words[0] == "sbatch" or words[0].startswith("scripts/launch/"):
        must_call_a_launch_script(words, variables)
    else:
        assert words[0] in ("kubectl", "sed", "helm"), line
        assert all((ROOT / word).exists() for word in words if word.startswith("scripts/"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    lines = commands(page)
    assert lines
    for line in lines:
        must_be_right(line)


@pytest.mark.parametrize(
    "wrong",
    [
        "gpucv run examples/h3-generalization.toml --nodes 4",
        "gpucv run examples/none.toml",
        "dask worker --scheduler-file x.json --threads 4",
        "dask cuda worker --jit-unspill",
        "scripts/launch/one-node.sh examples/none.toml",
        "GPUS=4 scripts/launch/one-node.sh examples/h3-generalization.toml",
        "sbatch --gpus=4 scripts/launch/slurm.sbatch examples/h3-generalization.toml",
        "make study",
    ],
)
def test_a_command_that_does_not_exist_is_found(wrong: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever says so
        must_be_right(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_where_it_has_not_run_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(r"not yet run on a (GPU|SLURM cluster|cluster)", text, flags=re.IGNORECASE)
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (page.parent / link).exists(), link


@pytest.mark.parametrize("script", ["slurm.sbatch", "ssh.sh"])
def test_the_options_of_dask_in_a_script_exist(script: str) -> None:
    text = re.sub(r"^ *#.*$", "", (LAUNCH / script).read_text(encoding="utf-8"), flags=re.MULTILINE)
    (scheduler,) = re.findall(r"bin/dask\" scheduler((?:.|\n)*?)[)&]\n", text)
    found = set(re.findall(r"(?<!\w)--[a-z-]+", scheduler))
    assert {"--no-dashboard", "--port"} <= found <= dask_options("scheduler")
    workers = re.findall(r"worker\+?=\(((?:.|\n)*?)\)\n", text)
    cuda = {name for each in workers for name in re.findall(r"--[a-z-]+", each)}
    assert {"--device-memory-limit", "--nthreads", "--memory-limit"} <= cuda
    assert not any("rmm" in name for name in cuda), "gpucv makes a pool that gives memory back"
    assert cuda <= CUDA_WORKER
    plain = [each for each in workers if "cuda" not in each]
    cpu = {name for each in plain for name in re.findall(r"--[a-z-]+", each)}
    assert cpu <= dask_options("worker")


def test_the_options_of_slurm_exist() -> None:
    text = (LAUNCH / "slurm.sbatch").read_text(encoding="utf-8")
    header = set(re.findall(r"^#SBATCH (--[a-z-]+)", text, flags=re.MULTILINE))
    assert {"--signal", "--no-kill"} <= header <= SBATCH
    (call,) = re.findall(r"^srun((?:.|\n)*?)\"\$bin", text, flags=re.MULTILINE)
    assert set(re.findall(r"--[a-z-]+", call)) == SRUN


def test_the_recorded_options_are_those_of_dask_cuda_where_it_is_installed() -> None:
    if importlib.util.find_spec("dask_cuda") is None:
        pytest.skip("dask-cuda is not installed")
    from dask_cuda.cli import worker

    real = {name for option in worker.params for name in (*option.opts, *option.secondary_opts)}
    assert real >= CUDA_WORKER


def manifest() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


def containers() -> dict[str, dict[str, Any]]:
    kinds = manifest()
    cluster = kinds["DaskCluster"]["spec"]
    pods = {
        "scheduler": cluster["scheduler"]["spec"],
        "worker": cluster["worker"]["spec"],
        "job": kinds["Job"]["spec"]["template"]["spec"],
    }
    return {name: pod["containers"][0] for name, pod in pods.items()}


def test_the_cluster_has_the_fields_the_operator_knows() -> None:
    cluster = manifest()["DaskCluster"]
    assert cluster["apiVersion"] == "kubernetes.dask.org/v1"
    assert {"scheduler", "worker"} <= set(cluster["spec"]) <= CLUSTER
    assert {"spec", "service"} <= set(cluster["spec"]["scheduler"]) <= SCHEDULER
    assert {"spec", "replicas"} <= set(cluster["spec"]["worker"]) <= WORKER
    name = cluster["metadata"]["name"]
    service = cluster["spec"]["scheduler"]["service"]
    assert service["selector"] == {
        "dask.org/cluster-name": name,
        "dask.org/component": "scheduler",
    }
    # The operator's controller and the service refer to these ports by name.
    ports = {port["name"]: port["containerPort"] for port in containers()["scheduler"]["ports"]}
    assert ports == {"tcp-comm": 8786, "http-dashboard": 8787}
    assert {(port["port"], ports[port["targetPort"]]) for port in service["ports"]} == {
        *((8786, 8786), (8787, 8787))
    }


def test_the_commands_of_the_pods_exist() -> None:
    found = containers()
    for name in ("scheduler", "worker"):
        must_be_a_dask_command(found[name]["command"])
    script = found["job"]["args"][0]
    (run,) = re.findall(r"command=\((run [^)]*)\)\n", script)
    (last,) = re.findall(r'exec gpucv "\$\{command\[@\]\}" (.*)', script)
    words = shlex.split(f"gpucv {run} {last}".replace("$STUDY", "examples/h3-generalization.toml"))
    must_be_a_gpucv_command(words)
    compile(re.findall(r"python -c '(.*?)'", script, flags=re.DOTALL)[0], "job", "exec")


def test_one_gpu_per_worker_one_image_and_one_volume_for_all() -> None:
    found, kinds = containers(), manifest()
    assert found["worker"]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {each["image"] for each in found.values()} == {"IMAGE"}
    for each in found.values():
        assert set(each["resources"]) == {"requests", "limits"}
    for name in ("worker", "job"):
        assert [mount["mountPath"] for mount in found[name]["volumeMounts"]] == ["/shared"]
    claim = kinds["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    text = MANIFEST.read_text(encoding="utf-8")
    assert text.count(f"claimName: {claim['metadata']['name']}") == 2


def test_the_job_waits_for_as_many_workers_as_there_are_at_the_schedulers_address() -> None:
    cluster = manifest()["DaskCluster"]
    variables = {each["name"]: each["value"] for each in containers()["job"]["env"]}
    assert variables["WORKERS"] == str(cluster["spec"]["worker"]["replicas"])
    assert variables["SCHEDULER"] == f"tcp://{cluster['metadata']['name']}-scheduler:8786"


def test_the_policy_lets_in_the_cluster_the_job_and_the_operator_alone() -> None:
    kinds = manifest()
    policy = kinds["NetworkPolicy"]["spec"]
    cluster = {"dask.org/cluster-name": kinds["DaskCluster"]["metadata"]["name"]}
    assert policy["podSelector"]["matchLabels"] == cluster
    (rule,) = policy["ingress"]
    admitted = [next(iter(each.values()))["matchLabels"] for each in rule["from"]]
    assert cluster in admitted
    assert kinds["Job"]["spec"]["template"]["metadata"]["labels"] in admitted
    assert len(admitted) == 3
