"""How notifications fare, for Prometheus. Targets are configuration, so their names may be labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

from stream_guard.adapters.notify.delivery import Outcome
from stream_guard.adapters.prometheus import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream_guard.adapters.notify.targets import Target, TargetKind


class PrometheusNotify:
    """`notify.delivery.NotifyMetrics` in a registry."""

    def __init__(self, registry: CollectorRegistry, targets: Iterable[Target] = ()) -> None:
        labels = ("target", "target_kind")
        self._outcomes = Counter(
            "notifications",
            "Attempts to tell a target of an alert.",
            ("target_kind", "outcome"),
            namespace=PREFIX,
            registry=registry,
        )
        self._circuit = Gauge(
            "notification_circuit_open", "1 while a target takes nothing.", labels, namespace=PREFIX, registry=registry
        )
        self._queue = Gauge(
            "notification_queue_length", "Transitions that wait.", labels, namespace=PREFIX, registry=registry
        )
        self._active = Gauge("notifier_active", "1 in the one process that sends.", namespace=PREFIX, registry=registry)
        for target in targets:
            self._circuit.labels(target.name, target.kind.value).set(0)
            for outcome in Outcome:
                self._outcomes.labels(target.kind.value, outcome.value)

    def outcome(self, kind: TargetKind, outcome: Outcome) -> None:
        """Count one attempt."""
        self._outcomes.labels(kind.value, outcome.value).inc()

    def circuit(self, target: Target, *, is_open: bool) -> None:
        """The target is dead, or lives again."""
        self._circuit.labels(target.name, target.kind.value).set(is_open)

    def queue(self, target: Target, length: int) -> None:
        """How much waits."""
        self._queue.labels(target.name, target.kind.value).set(length)

    def active(self, *, is_active: bool) -> None:
        """This process sends, or waits for another one to stop."""
        self._active.set(is_active)
