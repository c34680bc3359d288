"""Laws of `deploy/`: what is sent to Kubernetes is valid, complete and safe, and names only what exists."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from connectors import destinations
from stream.core.segments import compile_book, load_book
from stream.settings import Settings
from tests.unit.kustomize import WORKLOADS, Object, Rendered, containers, render

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "k8s" / "base"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

KUBERNETES_VERSIONS = ("1.30", "1.34", "1.37")
PREFIX = Settings.model_config["env_prefix"].upper()


@pytest.fixture(scope="module")
def base() -> Rendered:
    return render(BASE)


def pods(base: Rendered) -> Iterator[tuple[str, Object, Object]]:
    """Every workload's kind, its pod's labels, and its pod's spec."""
    for thing in base.of_kind(*WORKLOADS):
        template = thing["spec"]["template"]
        yield thing["kind"], template["metadata"]["labels"], template["spec"]


def settings_of(base: Rendered) -> dict[str, str]:
    """The settings that every process gets, as environment variables."""
    return dict(base.named("ConfigMap", "livesegments-settings")["data"])


def config_of(base: Rendered) -> dict[str, str]:
    """The files that are mounted, by name."""
    (config,) = (
        thing for thing in base.of_kind("ConfigMap") if thing["metadata"]["name"].startswith("livesegments-config-")
    )
    return dict(config["data"])


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_is_valid_to_the_letter(base: Rendered, version: str) -> None:
    """An unknown or misspelt field is an error, as it is to `kubectl apply --validate=strict`."""
    for thing in base.objects:
        kubernetes_validate.validate(thing, version, strict=True)


def test_the_schemas_do_refuse_a_misspelt_field(base: Rendered) -> None:
    """The validation above has teeth."""
    spec = {**base.of_kind("Deployment")[0]["spec"], "replica": 1}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**base.of_kind("Deployment")[0], "spec": spec}, KUBERNETES_VERSIONS[-1], strict=True
        )


def test_a_key_of_kustomize_that_the_reader_does_not_know_is_refused(tmp_path: Path) -> None:
    """The base cannot outgrow its reader unnoticed."""
    (tmp_path / "kustomization.yaml").write_text("resources: []\npatches: []\n")
    with pytest.raises(ValueError, match="patches"):
        render(tmp_path)


def test_every_file_of_the_base_is_used(base: Rendered) -> None:
    """A manifest that nothing names would never be applied."""
    assert {path for path in BASE.rglob("*") if path.is_file()} == base.files


def test_names_are_unique_and_in_one_namespace(base: Rendered) -> None:
    """What is applied twice under one name is applied once."""
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in base.objects]
    assert len(names) == len(set(names))
    (namespace,) = base.of_kind("Namespace")
    others = {thing["metadata"]["namespace"] for thing in base.objects if thing is not namespace}
    assert others == {namespace["metadata"]["name"]}


def test_the_image_is_this_version_of_the_project(base: Rendered) -> None:
    """One version, said in pyproject.toml."""
    assert {container["image"] for container in containers(base.objects)} == {f"livesegments:{PROJECT['version']}"}


def test_every_setting_exists(base: Rendered) -> None:
    """A variable that the settings do not know would be ignored without a word."""
    variables = set(settings_of(base))
    for container in containers(base.objects):
        variables.update(entry["name"] for entry in container.get("env", []))
    assert {name.removeprefix(PREFIX).lower() for name in variables} <= set(Settings.model_fields)
    assert all(name.startswith(PREFIX) for name in variables)


def test_the_settings_can_be_read(base: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values have the types that the settings ask for, and mean what the manifests say elsewhere."""
    for name, value in settings_of(base).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    mounted = {mount["mountPath"] for container in containers(base.objects) for mount in container["volumeMounts"]}
    assert str(settings.destinations.parent) in mounted
    assert settings.destinations.name in config_of(base)
    ports = {port["containerPort"] for container in containers(base.objects) for port in container.get("ports", [])}
    ports |= {port["port"] for service in base.of_kind("Service") for port in service["spec"]["ports"]}
    (policy,) = base.of_kind("NetworkPolicy")
    ports |= {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert ports == {settings.metrics_port}
    replicas = base.named("StatefulSet", "worker")["spec"]["replicas"]
    assert replicas <= settings.partitions, "a worker without partitions does nothing"


def test_every_process_reads_the_settings(base: Rendered) -> None:
    """One ConfigMap for all, so that worker and topics cannot disagree about the partitions."""
    for container in containers(base.objects):
        maps = [source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source]
        assert maps == ["livesegments-settings"], container["name"]


def test_every_command_exists(base: Rendered) -> None:
    """The command line knows each command that a container runs."""
    commands = {tuple(word for word in each["args"] if not word.startswith("/")) for each in containers(base.objects)}
    assert ("worker",) in commands
    for command in sorted(commands):
        line = [sys.executable, "-c", "import stream.cli; stream.cli.main()", *command, "--help"]
        answer = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert answer.returncode == 0, f"livesegments {' '.join(command)}: {answer.stderr}"


def test_the_files_of_the_example_are_right(base: Rendered) -> None:
    """The book compiles, the destinations load, and they name only segments of the book."""
    files = config_of(base)
    book = compile_book(load_book(files["segments.yaml"]))
    loaded = destinations.load(files["destinations.yaml"])
    assert loaded.by_name
    assert loaded.segments() <= {segment.name for segment in book.segments}


def test_paths_in_arguments_are_files_of_the_config(base: Rendered) -> None:
    """`/etc/livesegments/segments.yaml` is mounted where a command names it."""
    for container in containers(base.objects):
        for path in (Path(word) for word in container["args"] if word.startswith("/")):
            (mount,) = (mount for mount in container["volumeMounts"] if mount["mountPath"] == str(path.parent))
            assert mount["name"] == "config" and path.name in config_of(base)


def test_what_a_pod_names_exists(base: Rendered) -> None:
    """Volumes, ConfigMaps, the service account and the headless service are all there."""
    maps = {thing["metadata"]["name"] for thing in base.of_kind("ConfigMap")}
    accounts = {thing["metadata"]["name"] for thing in base.of_kind("ServiceAccount")}
    for _, _, pod in pods(base):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume} <= maps
        assert pod["serviceAccountName"] in accounts
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
            assert {entry["configMapRef"]["name"] for entry in container["envFrom"] if "configMapRef" in entry} <= maps
    worker = base.named("StatefulSet", "worker")
    assert base.named("Service", worker["spec"]["serviceName"])["spec"]["clusterIP"] == "None"


def test_every_selector_finds_exactly_one_workload(base: Rendered) -> None:
    """A service, a budget or a controller that selects no pods, or another's, does silent harm."""
    labels = [pod_labels for _, pod_labels, _ in pods(base)]

    def selected(selector: dict[str, str]) -> int:
        return sum(selector.items() <= each.items() for each in labels)

    for thing in base.of_kind("Service"):
        assert selected(thing["spec"]["selector"]) == 1, thing["metadata"]["name"]
    for thing in base.of_kind("PodDisruptionBudget", "Deployment", "StatefulSet"):
        assert selected(thing["spec"]["selector"]["matchLabels"]) == 1, thing["metadata"]["name"]


def test_every_container_says_what_it_needs(base: Rendered) -> None:
    """CPU and memory are asked for, memory is bounded."""
    for container in containers(base.objects):
        resources = container["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}, container["name"]
        assert "memory" in resources["limits"], container["name"]


def test_every_long_running_container_is_probed(base: Rendered) -> None:
    """Startup, readiness and liveness, each on a port that the container has."""
    for kind, _, pod in pods(base):
        for container in pod["containers"] if kind != "Job" else []:
            names = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container[probe]["httpGet"]["port"] in names, (container["name"], probe)


def test_no_container_has_rights_that_it_does_not_need(base: Rendered) -> None:
    """The restricted Pod Security Standard, a read-only root, and no token for the Kubernetes API."""
    for _, _, pod in pods(base):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == int(docker("USER")[0].partition(":")[0])
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_base_holds_no_secret(base: Rendered) -> None:
    """Secrets are named, never stored."""
    assert not base.of_kind("Secret")
    assert not {name for name in settings_of(base) if "PASSWORD" in name or "SECRET" in name}


def test_the_deliverer_has_redis_from_the_secret_or_is_alone(base: Rendered) -> None:
    """Its URL holds a password; without it the ledger is in the memory of one process."""
    deliverer = base.named("Deployment", "deliverer")
    (container,) = deliverer["spec"]["template"]["spec"]["containers"]
    (redis,) = container["env"]
    secret = {"name": "livesegments-secrets", "key": "LIVESEGMENTS_REDIS_URL", "optional": True}
    assert redis == {"name": "LIVESEGMENTS_REDIS_URL", "valueFrom": {"secretKeyRef": secret}}
    assert "LIVESEGMENTS_REDIS_URL" not in settings_of(base)
    assert deliverer["spec"]["replicas"] == 1


def test_a_worker_is_stopped_gracefully_and_one_at_a_time(base: Rendered) -> None:
    """There is time for a checkpoint, and a drained node does not take all workers at once."""
    worker = base.named("StatefulSet", "worker")
    checkpoint = float(settings_of(base)["LIVESEGMENTS_CHECKPOINT_SECONDS"])
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 2 * checkpoint
    assert base.named("PodDisruptionBudget", "worker")["spec"]["maxUnavailable"] == 1
    (identity,) = worker["spec"]["template"]["spec"]["containers"][0]["env"]
    assert identity == {
        "name": "LIVESEGMENTS_INSTANCE_ID",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
    }


def docker(instruction: str) -> list[str]:
    """The arguments of each such instruction of the Dockerfile."""
    lines = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    return [line.removeprefix(instruction).strip() for line in lines if line.startswith(instruction + " ")]


def test_the_image_is_built_from_the_locks() -> None:
    """Everything from an index is pinned by hash, and the image itself has the production lock only."""
    installs = [line for line in docker("RUN") if "pip install" in line]
    assert installs and all("--require-hashes" in line or "--no-deps" in line for line in installs)
    image = DOCKERFILE.read_text().rpartition("FROM ")[2]
    assert "requirements/production.txt" in image and "demo" not in image


def test_the_image_copies_what_is_there() -> None:
    """Each path that is copied from the project exists, and each package of the wheel is copied."""
    sources = {word for line in docker("COPY") if not line.startswith("--from") for word in line.split()[:-1]}
    assert all((ROOT / source).exists() for source in sources)
    wheel: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert set(wheel["targets"]["wheel"]["packages"]) <= sources


def test_the_manifests_are_plain_yaml() -> None:
    """No anchors, no tags, no tabs: what a reader sees is what there is."""
    for path in BASE.rglob("*.yaml"):
        tokens = list(yaml.scan(path.read_text()))
        assert not [each for each in tokens if isinstance(each, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken)]
