"""Carries decisions out at the door: for Envoy as two gRPC services, for Python as a client, a middleware, a hook."""

from stream_guard.gateway.client import Answer, Gate

__all__ = ["Answer", "Gate"]
