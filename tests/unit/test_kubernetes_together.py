"""deploy/kubernetes as a whole: who selects, reaches, scrapes and scales whom."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import yaml

from tests.support.kustomize import Manifest, containers, read
from tests.support.manifests import (
    COMPONENTS,
    KUBERNETES,
    SERVED,
    environment,
    manifests,
    of_kind,
    overlays,
    pods,
)


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
