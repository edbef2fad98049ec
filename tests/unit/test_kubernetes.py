"""deploy/kubernetes: valid by schema, and in step with the product: settings, ports, probes, labels, secrets."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import click
import kubernetes_validate  # type: ignore[import-untyped] # ships no types
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

from stream_guard.adapters.notify.targets import load_targets
from stream_guard.cli import cli
from stream_guard.policy import load_policy
from tests.support.kustomize import Manifest, containers
from tests.support.manifests import (
    COMPONENTS,
    KUBERNETES,
    ROOT,
    SERVED,
    environment,
    every_pod,
    manifests,
    of_kind,
    overlays,
    pods,
    variables,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel


VERSIONS = ("1.31", "1.37")
CUSTOM: dict[str, type[BaseModel]] = {
    "ScaledObject": ScaledObject,
    "PodMonitor": PodMonitor,
    "PrometheusRule": PrometheusRule,
}


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
