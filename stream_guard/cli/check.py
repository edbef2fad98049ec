"""`stream-guard check`: validate the configuration, reach every service, and say what to do about each failure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_guard.adapters.redis_client import COMPACT_BYTES, inspect
from stream_guard.adapters.topics import TopicAdmin, plan_topics
from stream_guard.errors import StreamGuardError
from stream_guard.policy import load_policy
from stream_guard.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stream_guard.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; a warning does not fail the check."""

    level: str
    text: str


@click.command()
@click.option(
    "--policy", type=click.Path(dir_okay=False, path_type=Path), help="Policy file instead of the configured."
)
def check(policy: Path | None) -> None:
    """Validate settings and policy, and reach Kafka and Redis."""
    failed = False
    for finding in _findings(policy):
        failed = failed or finding.level == "FAIL"
        click.echo(f"{finding.level:<5} {finding.text}", err=finding.level == "FAIL")
    sys.exit(1 if failed else 0)


def _findings(policy: Path | None) -> Iterator[Finding]:
    try:
        settings = load_settings()
    except StreamGuardError as error:
        yield Finding("FAIL", f"settings: {error}. Correct the variable; the documentation lists all of them.")
        return
    yield Finding("ok", "settings")
    steps: tuple[tuple[str, str, Callable[[], Iterator[Finding]]], ...] = (
        ("policy", "Correct the key it names.", lambda: _policy(policy or settings.policy)),
        ("kafka", "Check STREAM_GUARD_KAFKA__BOOTSTRAP, the network and the credentials.", lambda: _kafka(settings)),
        ("redis", "Check STREAM_GUARD_REDIS__URL, the network and the password.", lambda: _redis(settings)),
    )
    for name, advice, step in steps:
        try:
            yield from step()
        except StreamGuardError as error:
            yield Finding("FAIL", f"{name}: {error}. {advice}")


def _policy(path: Path | None) -> Iterator[Finding]:
    load_policy(path)
    yield Finding("ok", f"policy {path or '(defaults)'}")


def _kafka(settings: Settings) -> Iterator[Finding]:
    with TopicAdmin(settings) as admin:
        reports = admin.verify(plan_topics(settings))
    yield Finding("ok", f"kafka at {settings.kafka.bootstrap}")
    for report in reports:
        if report.problem is not None:
            yield Finding("FAIL", f"topic {report.name}: {report.problem}")
    if all(report.problem is None for report in reports):
        yield Finding("ok", f"{len(reports)} topics")


def _redis(settings: Settings) -> Iterator[Finding]:
    found = inspect(settings.redis)
    yield Finding("ok", f"redis {found.version}")
    if found.eviction not in {"noeviction", "unknown"}:
        text = f"redis evicts ({found.eviction}): states could vanish. Set maxmemory-policy noeviction."
        yield Finding("WARN", text)
    if not found.persistent:
        text = "redis keeps nothing across a restart: the worker would start cold. Turn on appendonly."
        yield Finding("WARN", text)
    if not found.compact:
        text = f"redis spends more on each account than it must. Set hash-max-listpack-value {COMPACT_BYTES}."
        yield Finding("WARN", text)
