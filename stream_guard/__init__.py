"""Streaming anomaly detection against coordinated extraction from language-model APIs."""

__version__ = "0.1.0"
