"""A real Prometheus that scrapes every second and evaluates the product's own rules."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tests.support.servers import Server, free_port

ROOT = Path(__file__).resolve().parent.parent.parent
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"


class PrometheusServer(Server):
    """Prometheus with the shipped rules; `workers` are addresses such as `127.0.0.1:6066`."""

    def __init__(self, directory: Path, *workers: str) -> None:
        super().__init__(directory)
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "prometheus.yml"
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "stream-guard", "static_configs": [{"targets": list(workers)}]}],
        }
        self._file.write_text(yaml.safe_dump(configuration), encoding="utf-8")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            "prometheus", f"--config.file={self._file}", f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]  # fmt: skip

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=1.0) as response:  # noqa: S310 # our own
            return bool(response.status == 200)
        return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The value of an expression now: one entry a series."""
        return self._get("query", query=expression)["result"]  # type: ignore[no-any-return]

    def query_range(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Its values second by second, as a panel asks for them."""
        found = self._get("query_range", query=expression, start=str(start), end=str(end), step="1")
        return found["result"]  # type: ignore[no-any-return]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health and, for alerts, its state."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30.0) as response:  # noqa: S310 # our own
            found: dict[str, Any] = json.load(response)["data"]
        return found
