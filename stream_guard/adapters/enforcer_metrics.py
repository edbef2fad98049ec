"""How gateways stand, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge

from stream_guard.adapters.prometheus import PREFIX

if TYPE_CHECKING:
    from stream_guard.adapters.redis_enforcers import Standing


class EnforcerMetrics:
    """Gauges in the worker's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._drift = Gauge(
            "enforcer_drift_decisions",
            "Decisions that some gateway misses, or still applies, for two looks in a row.",
            ("kind",),
            namespace=PREFIX,
            registry=registry,
        )
        self._enforcers = Gauge(
            "enforcers", "Gateways by whether they report.", ("state",), namespace=PREFIX, registry=registry
        )
        for kind in ("missing", "stale"):
            self._drift.labels(kind)
        for state in ("reporting", "silent"):
            self._enforcers.labels(state)

    def observe(self, standing: Standing) -> None:
        """Take in one look."""
        self._drift.labels("missing").set(len(standing.missing))
        self._drift.labels("stale").set(len(standing.stale))
        self._enforcers.labels("reporting").set(standing.reporting)
        self._enforcers.labels("silent").set(standing.silent)
