"""The files of deploy/ and docker-compose.yml: valid, pinned, unprivileged, and in step with the code."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from stream_guard.adapters.enforcer_metrics import EnforcerMetrics
from stream_guard.adapters.notify.metrics import PrometheusNotify
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import COMPACT_BYTES
from stream_guard.cli import cli
from stream_guard.settings import PREFIX, Settings
from tests.support.tools import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
RULES = DEPLOY / "prometheus" / "rules.yml"
RULE_TESTS = DEPLOY / "prometheus" / "rules.test.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"topics", "demo-traffic"}
LABELS = {
    "action", "direction", "instance", "job", "kind", "le", "reason", "scope", "severity", "signal", "simulated",
    "stage", "state", "status", "target", "topic", "verdict", "version",
}  # fmt: skip

services = pytest.mark.parametrize("name", sorted(SERVICES))


# Compose ------------------------------------------------------------------------------------------------------------


def test_the_stack_is_complete() -> None:
    expected = {"kafka", "redis", "topics", "worker", "demo-traffic", "prometheus", "alertmanager", "grafana"}
    assert set(SERVICES) == expected


@services
def test_an_image_names_its_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+(-[a-z]+)?", tag), f"{name}: {tag}"


@services
def test_nothing_runs_as_root_or_can_become_root(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged", False)


@services
def test_what_stays_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in ONE_SHOT:
        assert check == {"disable": True}
        assert SERVICES[name]["restart"] == "no"
    else:
        assert check["test"][0] in {"CMD", "CMD-SHELL"}
        assert check["interval"]
        assert check["timeout"]
        assert SERVICES[name]["restart"] == "unless-stopped"


@services
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@services
def test_volumes_and_dependencies_exist(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).is_dir() if source.startswith("./") else source in COMPOSE["volumes"]
        assert not source.startswith("./") or volume.endswith(":ro")
    conditions = {
        "service_healthy": lambda other: "test" in SERVICES[other]["healthcheck"],
        "service_completed_successfully": lambda other: other in ONE_SHOT,
    }
    for other, how in service.get("depends_on", {}).items():
        assert conditions[how["condition"]](other)


def test_redis_forgets_nothing() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert f"--hash-max-listpack-value {COMPACT_BYTES}" in command


def test_demo_traffic_starts_only_when_asked_for() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"demo-traffic"}


def set_variables() -> Iterator[tuple[str, str | None]]:
    for service in SERVICES.values():
        yield from service.get("environment", {}).items()
    yield from re.findall(rf"\b({PREFIX}\w+)=(\S+)", DOCKERFILE)


def test_every_setting_exists_and_takes_its_value() -> None:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in set_variables():
        if name.startswith(PREFIX):
            group, field = name.removeprefix(PREFIX).lower().split("__")
            nested.setdefault(group, {})[field] = value
    settings = Settings.model_validate(nested)
    assert settings.web.host == "0.0.0.0"  # noqa: S104 # inside the container
    assert settings.kafka.bootstrap == "kafka:19092"


# Prometheus and Alertmanager ----------------------------------------------------------------------------------------


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def test_prometheus_accepts_its_configuration() -> None:
    run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert f"{len(rules())} rules found" in run("promtool", "check", "rules", RULES)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    run("promtool", "test", "rules", RULE_TESTS)


def test_every_alert_is_seen_firing_and_quiet() -> None:
    firing: set[str] = set()
    quiet: set[str] = set()
    for case in yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]:
        for check in case["alert_rule_test"]:
            (firing if check.get("exp_alerts") else quiet).add(check["alertname"])
    names = {rule["alert"] for rule in alerts()}
    assert firing == names
    assert quiet == names


def test_every_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    pages = {f"docs/runbooks/{page.name}" for page in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert {rule["annotations"]["runbook_url"] for rule in alerts()} == pages
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "runbooks").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_explains_checks_and_acts_with_commands_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert headings == [page.stem, "What it means", "How to check", "What to do"]
    context = click.Context(cli)
    for name in re.findall(r"stream-guard ([a-z-]+)", text):
        assert name in cli.list_commands(context)
    for name in re.findall(r"grep (?:-E )?'?([\w|]+)", text):
        for part in name.split("|"):
            assert any(part in metric for metric in known_metrics()), part


def test_alertmanager_accepts_its_configuration() -> None:
    path = DEPLOY / "alertmanager" / "alertmanager.yml"
    run("amtool", "check-config", path)
    names = {rule["alert"] for rule in alerts()}
    for rule in yaml.safe_load(path.read_text(encoding="utf-8"))["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            assert set(re.search(r'"(.+)"', matcher).group(1).split("|")) <= names  # type: ignore[union-attr]


# Dashboards ---------------------------------------------------------------------------------------------------------


def generator() -> ModuleType:
    path = DEPLOY / "grafana" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_dashboards_are_what_the_generator_writes() -> None:
    made = generator()
    assert {path.stem for path in DASHBOARDS} == set(made.BOARDS) == {"overview", "detection", "engine", "decisions"}
    for path in DASHBOARDS:
        assert path.read_text(encoding="utf-8") == made.dashboard_json(path.stem), "run `make generate`"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_marks_campaigns_and_leads_to_the_console(path: Path) -> None:
    made = json.loads(path.read_text(encoding="utf-8"))
    assert [item["name"] for item in made["annotations"]["list"]] == ["Campaigns"]
    links = {link["url"] for panel in made["panels"] for link in panel.get("links", [])}
    assert links <= {"${console}/campaigns"}
    assert links or path.stem == "engine"


def dashboard_expressions(path: Path) -> list[str]:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def known_metrics() -> set[str]:
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count"), "gauge": ("",)}
    registry = Metrics().registry
    EnforcerMetrics(registry)
    PrometheusNotify(registry)
    return {family.name + suffix for family in registry.collect() for suffix in suffixes.get(family.type, ("",))}


def expressions() -> list[str]:
    found = [rule["expr"] for rule in rules()]
    for path in DASHBOARDS:
        found += dashboard_expressions(path)
    return found


def test_rules_and_dashboards_use_metrics_that_exist() -> None:
    used = {name for text in expressions() for name in re.findall(r"(?<!\")\bstream_guard_\w+", text)}
    assert len(used) > 20
    assert used <= known_metrics()


def test_rules_and_dashboards_use_labels_that_exist() -> None:
    for text in expressions():
        found = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", text))
        for group in re.findall(r"\bby\s*\(([^)]*)\)", text):
            found |= {label.strip() for label in group.split(",")}
        assert found <= LABELS


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_prometheus_accepts_the_expressions_of_a_dashboard(path: Path, tmp_path: Path) -> None:
    found = [text.replace("$__rate_interval", "5m") for text in dashboard_expressions(path)]
    group = {"name": "g", "rules": [{"record": f"r{number}", "expr": text} for number, text in enumerate(found)]}
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    run("promtool", "check", "rules", file)


def test_grafana_finds_its_dashboards_and_their_source() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    providers = [
        provider
        for file in (provisioning / "dashboards").glob("*.yml")
        for provider in yaml.safe_load(file.read_text(encoding="utf-8"))["providers"]
    ]
    assert [provider["options"]["path"] for provider in providers] == [mounted["./deploy/grafana/dashboards"]]
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))
    known = {source["uid"] for source in sources["datasources"]}
    assert DASHBOARDS
    for path in DASHBOARDS:
        panels = [panel for panel in json.loads(path.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]
        assert panels
        assert {panel["datasource"]["uid"] for panel in panels} <= known
        assert len({panel["id"] for panel in panels}) == len(panels)
