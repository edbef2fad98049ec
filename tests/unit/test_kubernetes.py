"""deploy/kubernetes: valid by schema, and in step with the product: settings, ports, probes, labels, secrets."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import kubernetes_validate  # type: ignore[import-untyped] # ships no types
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

from stream_guard.adapters.notify.targets import load_targets
from stream_guard.adapters.prometheus import Metrics
from stream_guard.app import notify
from stream_guard.app.health import HealthState
from stream_guard.app.web import make_console, make_web
from stream_guard.cli import cli
from stream_guard.policy import Decisions, load_policy
from stream_guard.settings import ALIASES, PREFIX, load_settings
from tests.support.kustomize import Manifest, build, containers, read

if TYPE_CHECKING:
    from pydantic import BaseModel

    from stream_guard.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("trial", "production")
COMPONENTS = {"worker", "console", "notifier", "gateway"}
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
VERSIONS = ("1.31", "1.37")
CUSTOM: dict[str, type[BaseModel]] = {
    "ScaledObject": ScaledObject,
    "PodMonitor": PodMonitor,
    "PrometheusRule": PrometheusRule,
}
NOBODY: Any = None
SERVED = {
    component: {resource.canonical for resource in application.router.resources()}
    for component, application in (
        ("worker", make_web(HealthState(), Metrics(), NOBODY)),
        ("console", make_console(NOBODY, (), Decisions())),
        ("notifier", notify._application(Metrics())),
    )
}


@functools.cache
def manifests(overlay: str) -> tuple[Manifest, ...]:
    return tuple(build(KUBERNETES / "overlays" / overlay))


def of_kind(overlay: str, kind: str) -> dict[str, Manifest]:
    return {found["metadata"]["name"]: found for found in manifests(overlay) if found["kind"] == kind}


def pods(overlay: str) -> dict[str, Manifest]:
    """Pod templates by component."""
    found = of_kind(overlay, "Deployment").values()
    return {item["metadata"]["labels"][COMPONENT]: item["spec"]["template"] for item in found}


overlays = pytest.mark.parametrize("overlay", OVERLAYS)
every_pod = pytest.mark.parametrize(
    ("overlay", "component"), [(name, part) for name in OVERLAYS for part in COMPONENTS]
)


# As Kubernetes sees them ---------------------------------------------------------------------------------------------


@overlays
@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_what_the_schemas_of_kubernetes_say(overlay: str, version: str) -> None:
    for manifest in manifests(overlay):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_is_found_by_the_schema() -> None:
    broken = json.loads(json.dumps(of_kind("trial", "Deployment")["stream-guard-worker"]))
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


@pytest.mark.parametrize("kind", CUSTOM)
def test_the_operators_resources_are_what_their_definitions_say(kind: str) -> None:
    found = of_kind("production", kind)
    assert found
    for manifest in found.values():
        taken = CUSTOM[kind].model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert taken == manifest  # an unknown key would be gone


@overlays
def test_kubectl_prints_the_same_manifests(overlay: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed, and Debian's is too old for components; the other tests need none")
    command = [kubectl, "kustomize", str(KUBERNETES / "overlays" / overlay)]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    text = re.sub(r"(stream-guard-(?:settings|policy|targets))-[a-z0-9]{10}\b", r"\1", text)
    assert by_name(yaml.safe_load_all(text)) == by_name(manifests(overlay))


def by_name(found: Any) -> dict[tuple[str, str], Manifest]:  # noqa: ANN401 # documents
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in found}


@overlays
def test_everything_is_in_the_namespace_of_the_overlay_which_lets_only_restricted_pods_in(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = {item["metadata"]["namespace"] for item in manifests(overlay) if item["kind"] != "Namespace"}
    assert inside == {namespace["metadata"]["name"]}


# Pods ---------------------------------------------------------------------------------------------------------------


@overlays
def test_every_process_of_the_product_has_its_pods(overlay: str) -> None:
    assert pods(overlay).keys() == COMPONENTS
    known = cli.list_commands(click.Context(cli))
    for container in containers(manifests(overlay)):
        assert container["args"][0] in known
        context = click.Context(cli)
        command = cli.get_command(context, container["args"][0])
        assert command is not None
        command.make_context(container["args"][0], list(container["args"][1:]), parent=context)


@every_pod
def test_nothing_runs_as_root_writes_to_its_image_or_may_do_more_than_it_needs(overlay: str, component: str) -> None:
    spec = pods(overlay)[component]["spec"]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert (security["runAsUser"], security["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


@every_pod
def test_services_put_no_variables_into_pods(overlay: str, component: str) -> None:
    """A Service stream-guard-x becomes STREAM_GUARD_X_PORT, which the settings refuse."""
    assert pods(overlay)[component]["spec"]["enableServiceLinks"] is False


@every_pod
def test_probes_ask_what_is_served(overlay: str, component: str) -> None:
    (container,) = pods(overlay)[component]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    if component == "gateway":
        address = container["args"][container["args"].index("--address") + 1]
        assert ports == {"grpc": int(address.rpartition(":")[2])}
        assert {probe["grpc"]["port"] for probe in probes} == set(ports.values())
        assert [bool(probe["grpc"].get("service")) for probe in probes] == [False, True, False]
        return
    assert ports == {"http": environment(overlay, container).web.port}
    assert {probe["httpGet"]["port"] for probe in probes} == {"http"}
    startup, readiness, liveness = (probe["httpGet"]["path"] for probe in probes)
    assert startup == liveness == "/healthz"
    assert readiness == ("/readyz" if "/readyz" in SERVED[component] else "/healthz")
    assert {startup, readiness} <= SERVED[component]


def environment(overlay: str, container: Manifest) -> Settings:
    """The settings as the container reads them, with secrets of this test."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        secret = Path(name) / "secret"
        secret.write_text("x" * 16, encoding="utf-8")
        for variable in [variable for variable in os.environ if variable.startswith((PREFIX, *ALIASES))]:
            patch.delenv(variable)
        for variable, value in variables(overlay, container).items():
            assert variable.startswith(PREFIX), variable
            patch.setenv(variable, str(secret) if value.startswith("/run/secrets/") else value)
        return load_settings()


def variables(overlay: str, container: Manifest) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= of_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return found | {item["name"]: item["value"] for item in container["env"]}


@overlays
def test_every_variable_is_a_setting_and_takes_its_value(overlay: str) -> None:
    for container in containers(manifests(overlay)):
        settings = environment(overlay, container)
        assert settings.web.host == "0.0.0.0"  # noqa: S104 # inside the container
        assert settings.redis.url.startswith("rediss://" if overlay == "production" else "redis://")
        if container["name"] != "gateway":
            assert settings.kafka.security == ("SASL_SSL" if overlay == "production" else "PLAINTEXT")


@overlays
def test_files_that_variables_name_are_mounted(overlay: str) -> None:
    for template in pods(overlay).values():
        spec = template["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            mounted: set[str] = set()
            for mount in container["volumeMounts"]:
                mounted |= {f"{mount['mountPath']}/{key}" for key in keys_of(overlay, volumes[mount["name"]])}
            for name, value in variables(overlay, container).items():
                if value.startswith("/"):
                    assert value in mounted, f"{name}={value}"


def keys_of(overlay: str, volume: Manifest) -> set[str]:
    """Files of a volume. Raises KeyError where nobody makes its ConfigMap or Secret."""
    if "configMap" in volume:
        return set(of_kind(overlay, "ConfigMap")[volume["configMap"]["name"]]["data"])
    if "secret" in volume:
        return documented_secrets()[volume["secret"]["secretName"]]
    assert "emptyDir" in volume
    return set()


@functools.cache
def documented_secrets() -> dict[str, set[str]]:
    """Secrets are made by people, with the commands of the page."""
    text = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"create secret generic ([\w-]+)(.*)", text)
    return {name: set(re.findall(r"--from-(?:literal|file)=([\w.-]+)=", rest)) for name, rest in commands}


@overlays
def test_the_policy_and_the_targets_are_valid(overlay: str, tmp_path: Path) -> None:
    maps = of_kind(overlay, "ConfigMap")
    for name, key, load in (
        ("stream-guard-policy", "policy.toml", load_policy),
        ("stream-guard-targets", "targets.toml", load_targets),
    ):
        path = tmp_path / key
        path.write_text(maps[name]["data"][key], encoding="utf-8")
        assert load(path)
        assert tomllib.loads(maps[name]["data"][key])


@overlays
def test_a_worker_has_time_for_its_last_checkpoint(overlay: str) -> None:
    worker = pods(overlay)["worker"]["spec"]
    settings = environment(overlay, worker["containers"][0])
    assert worker["terminationGracePeriodSeconds"] > settings.runtime.shutdown_seconds + 10.0


# Between them -------------------------------------------------------------------------------------------------------


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    among = selector.get("matchExpressions", [])
    assert all(rule["operator"] == "In" for rule in among)
    return wanted.items() <= labels.items() and all(labels.get(rule["key"]) in rule["values"] for rule in among)


def chosen(overlay: str, selector: Manifest) -> set[str]:
    return {name for name, template in pods(overlay).items() if selects(selector, template["metadata"]["labels"])}


@overlays
def test_every_selector_finds_the_pods_that_it_is_named_after(overlay: str) -> None:
    for name, deployment in of_kind(overlay, "Deployment").items():
        assert chosen(overlay, deployment["spec"]["selector"]) == {name.removeprefix("stream-guard-")}
        for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"] == deployment["spec"]["selector"]
    for name, service in of_kind(overlay, "Service").items():
        component = name.removeprefix("stream-guard-")
        assert chosen(overlay, {"matchLabels": service["spec"]["selector"]}) == {component}
        names = {port["name"] for port in pods(overlay)[component]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    budgets = of_kind(overlay, "PodDisruptionBudget")
    assert {frozenset(chosen(overlay, item["spec"]["selector"])) for item in budgets.values()} == {
        frozenset({component}) for component in COMPONENTS
    }


@overlays
def test_every_service_account_exists(overlay: str) -> None:
    for template in pods(overlay).values():
        assert template["spec"]["serviceAccountName"] in of_kind(overlay, "ServiceAccount")


def allowed(overlay: str, direction: str) -> dict[str, set[tuple[str, Any]]]:
    """Who may talk by component: namespace (or label of it) and port."""
    found: dict[str, set[tuple[str, Any]]] = {name: set() for name in COMPONENTS}
    side, peer = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    for policy in of_kind(overlay, "NetworkPolicy").values():
        for rule in policy["spec"].get(side, []):
            for other in rule[peer]:
                (label,) = other["namespaceSelector"]["matchLabels"].items()
                place = label[1] if label[0] == "kubernetes.io/metadata.name" else label[0]
                for component in chosen(overlay, policy["spec"]["podSelector"]):
                    found[component] |= {(place, port["port"]) for port in rule["ports"]}
    return found


@overlays
def test_what_is_not_listed_is_denied_both_ways(overlay: str) -> None:
    deny = of_kind(overlay, "NetworkPolicy")["stream-guard-default-deny"]["spec"]
    assert chosen(overlay, deny["podSelector"]) == COMPONENTS
    assert sorted(deny["policyTypes"]) == ["Egress", "Ingress"]
    assert deny.keys() == {"podSelector", "policyTypes"}


@overlays
def test_pods_reach_dns_redis_kafka_and_alertmanager_and_nothing_else(overlay: str) -> None:
    dns, redis, kafka = ("kube-system", 53), ("redis", 6379), ("kafka", 9092)
    assert allowed(overlay, "Egress") == {
        "worker": {dns, redis, kafka},
        "console": {dns, redis, kafka},
        "notifier": {dns, redis, kafka, ("monitoring", 9093)},
        "gateway": {dns, redis},
    }
    for container in containers(manifests(overlay)):
        settings = environment(overlay, container)
        assert re.fullmatch(r"rediss?://[\w-]+\.redis\.svc:6379/0", settings.redis.url)
        assert re.fullmatch(r"[\w-]+\.kafka\.svc:9092", settings.kafka.bootstrap)


@overlays
def test_prometheus_people_and_gateways_reach_what_is_theirs_and_nothing_else(overlay: str) -> None:
    people, prometheus = ("stream-guard/console", "http"), ("monitoring", "http")
    assert allowed(overlay, "Ingress") == {
        "worker": {people, prometheus},
        "console": {people},
        "notifier": {prometheus},
        "gateway": {("stream-guard/gateway", "grpc")},
    }


# Monitoring and scaling ---------------------------------------------------------------------------------------------


def test_the_rules_are_those_of_prometheus() -> None:
    path = KUBERNETES / "generate.py"
    spec = importlib.util.spec_from_file_location("kubernetes_generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.rules(), "run `make generate`"


def test_prometheus_scrapes_every_pod_with_metrics_under_the_job_of_the_rules() -> None:
    (monitor,) = of_kind("production", "PodMonitor").values()
    assert chosen("production", monitor["spec"]["selector"]) == {"worker", "notifier"}
    assert {component for component, paths in SERVED.items() if "/metrics" in paths} == {"worker", "notifier"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert {pod["metadata"]["labels"][monitor["spec"]["jobLabel"]] for pod in pods("production").values()} == {
        "stream-guard"
    }


def test_workers_are_scaled_by_lag_up_to_one_for_each_partition() -> None:
    (scaled,) = of_kind("production", "ScaledObject").values()
    worker = of_kind("production", "Deployment")[scaled["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in worker["spec"]
    settings = environment("production", worker["spec"]["template"]["spec"]["containers"][0])
    assert 2 <= scaled["spec"]["minReplicaCount"] < scaled["spec"]["maxReplicaCount"] == settings.partitions.queries
    recorded = {
        rule.get("record")
        for group in of_kind("production", "PrometheusRule")["stream-guard"]["spec"]["groups"]
        for rule in group["rules"]
    }
    queries = {item["metadata"]["query"] for item in scaled["spec"]["triggers"] if item["type"] == "prometheus"}
    assert queries
    assert queries <= recorded


def test_gateways_are_scaled_by_processor_time() -> None:
    (scaler,) = of_kind("production", "HorizontalPodAutoscaler").values()
    gateway = of_kind("production", "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in gateway["spec"]
    assert "cpu" in gateway["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]


def test_every_file_is_used() -> None:
    used = {path.resolve() for path in KUBERNETES.rglob("kustomization.yaml")}
    for path in list(used):
        text = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = list(text.get("resources", []))
        for item in text.get("configMapGenerator", []):
            names += [*item.get("files", []), *item.get("envs", [])]
        used |= {(path.parent / name).resolve() for name in names}
    files = {
        path
        for path in KUBERNETES.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert {path.resolve() for path in files} <= used
    assert all(read(path) for path in files if path.suffix == ".yaml")
