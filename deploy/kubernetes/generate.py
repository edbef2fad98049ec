"""Writes components/monitoring/rules.yaml from deploy/prometheus/rules.yml; a test compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

HERE: Final = Path(__file__).resolve().parent
TARGET: Final = HERE / "components" / "monitoring" / "rules.yaml"


def rules() -> str:
    """The same groups as a PrometheusRule."""
    groups = yaml.safe_load((HERE.parent / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
    made = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "stream-guard", "labels": {"app.kubernetes.io/name": "stream-guard"}},
        "spec": {"groups": groups},
    }
    text: str = yaml.safe_dump(made, sort_keys=False, width=120)
    return f"# Written by deploy/kubernetes/generate.py from deploy/prometheus/rules.yml.\n{text}"


if __name__ == "__main__":
    TARGET.write_text(rules(), encoding="utf-8")
