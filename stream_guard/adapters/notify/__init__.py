"""Tells people about alerts: Alertmanager first, signed webhooks, and whatever Apprise reaches.

Each transition of an alert is taken from Kafka into an outbox in Redis once, and goes from there to every target in its
own time and order. What is in the outbox survives restarts; a dead target delays nobody else.
"""

from stream_guard.adapters.notify.notifier import Notifier, make_notifier
from stream_guard.adapters.notify.signature import verify
from stream_guard.adapters.notify.targets import Target, load_targets

__all__ = ["Notifier", "Target", "load_targets", "make_notifier", "verify"]
