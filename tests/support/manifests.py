"""What deploy/kubernetes makes, overlay by overlay, and what the product serves and reads."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stream_guard.adapters.prometheus import Metrics
from stream_guard.app import notify
from stream_guard.app.health import HealthState
from stream_guard.app.web import make_console, make_web
from stream_guard.policy import Decisions
from stream_guard.settings import ALIASES, PREFIX, load_settings
from tests.support.kustomize import Manifest, build

if TYPE_CHECKING:
    from stream_guard.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("trial", "production")
COMPONENTS = {"worker", "console", "notifier", "gateway"}
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
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
    """What the container's environment says."""
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= of_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return found | {item["name"]: _value(item) for item in container["env"]}


def _value(variable: Manifest) -> str:
    """What the variable is set to; what Kubernetes fills in is the pod's name in each case."""
    if "value" in variable:
        return str(variable["value"])
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}, variable
    return "stream-guard-worker-7c9f4d6b8-x2k5q"
