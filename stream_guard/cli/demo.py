"""`stream-guard demo`: a campaign is found before your eyes, with a broker and a Redis of the package's own.

Broker, Redis and worker are child processes in a temporary directory; all of them end with the command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from stream_guard.adapters.embedded import HOST, child, embedded_services, free_port
from stream_guard.adapters.topics import TopicAdmin, plan_topics, require
from stream_guard.cli.demo_report import Found, report_lines
from stream_guard.cli.demo_traffic import AlertFeed, DemoTraffic, make_traffic, send_traffic
from stream_guard.cli.show import short_time
from stream_guard.encode import time_text
from stream_guard.errors import ServiceUnavailableError
from stream_guard.policy import load_policy
from stream_guard.records import DEFAULT_TENANT
from stream_guard.settings import ALIASES, PREFIX, Kafka, Log, Partitions, RedisServer, Runtime, Settings, Web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stream_guard.adapters.embedded import Child, Services
    from stream_guard.records import Json

READY_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 75.0
SILENT_SECONDS: Final = 30.0  # nothing happens any more, although not everything was counted
QUIET_SECONDS: Final = 8.0  # longer than the worker waits before it closes the last epochs
POLL_SECONDS: Final = 0.5
_OPERATORS_NEED: Final = ("KAFKA__BOOTSTRAP", "REDIS__URL", "PARTITIONS__QUERIES")
CAMPAIGN: Final = "extraction_campaign"
_interrupted: Final = threading.Event()


@click.command()
@click.option("--seconds", default=45.0, show_default=True, type=click.FloatRange(5.0, 600.0), help="Time for sending.")
@click.option("--accounts", default=600, show_default=True, type=click.IntRange(200, 5_000), help="Honest accounts.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the simulated traffic.")
@click.option("--keep", is_flag=True, help="Keep everything running after the report, until Ctrl-C.")
@click.option("--policy", type=click.Path(path_type=Path, dir_okay=False), help="Policy file instead of the defaults.")
def demo(*, seconds: float, accounts: int, seed: int, keep: bool, policy: Path | None) -> None:
    """Show a campaign being found, with a broker and a Redis of its own.

    Simulated traffic of honest accounts and one thin campaign goes through Kafka to a real worker, faster than it
    happened. The end shows the alert, its evidence and the decision. Needs the extra `embedded`; no Docker, no Java.
    """
    load_policy(policy)  # what is wrong with it is said before anything starts
    with _signals_as_interrupts(), tempfile.TemporaryDirectory(prefix="stream-guard-demo-") as name:
        directory = Path(name)
        with embedded_services(directory, _go_on) as services:
            click.echo(f"broker and Redis listen on {HOST}")
            settings = _settings(services, policy)
            _go_on()
            with TopicAdmin(settings) as admin:
                require(admin.create_missing(plan_topics(settings)))
            click.echo("topics are created")
            command = [sys.executable, "-m", "stream_guard.cli", "worker"]
            with child("worker", command, directory, _environment(settings)) as worker:
                api = Api(settings.web.port)
                worker.wait_until(api.ready, READY_SECONDS)
                click.echo("the worker is ready\n")
                found = _play(api, worker, settings, traffic := make_traffic(seed, accounts), seconds)
                for line in report_lines(found, traffic, api.pages(found.campaign) if keep else {}):
                    click.echo(line)
                if keep:
                    _wait_for_interrupt(worker, _environment(settings))
    click.echo("\nBroker, Redis and worker have ended.")


class Api:
    """The worker's own HTTP interface, as an operator would read it."""

    def __init__(self, port: int) -> None:
        self.base = f"http://{HOST}:{port}"

    def pages(self, campaign: Json) -> dict[str, str]:
        """Where a browser finds what."""
        page = f"/console/campaigns/{DEFAULT_TENANT}/{campaign['campaign_id']}"
        paths = {"campaign": page, "console": "/console", "health": "/readyz", "metrics": "/metrics"}
        return {name: self.base + path for name, path in paths.items()}

    def ready(self) -> bool:
        """Whether every partition is restored."""
        _go_on()
        try:
            return bool(json.loads(self._read("/readyz"))["nodes"])
        except (OSError, ValueError):
            return False

    def listed(self, kind: str) -> list[Json]:
        """`alerts`, `campaigns` or `decisions`."""
        found: list[Json] = json.loads(self._read(f"/api/v1/{kind}?limit=200"))[kind]
        return found

    def campaign(self, campaign_id: str) -> Json:
        """One campaign with its members."""
        found: Json = json.loads(self._read(f"/api/v1/campaigns/{campaign_id}"))
        return found

    def events(self) -> int:
        """Queries that the worker has counted."""
        for line in self._read("/metrics").decode().splitlines():
            if line.startswith("stream_guard_events_total "):
                return int(float(line.split()[1]))
        return 0

    def _read(self, path: str) -> bytes:
        with urllib.request.urlopen(self.base + path, timeout=10.0) as response:  # noqa: S310 # loopback, our own worker
            body: bytes = response.read()
        return body


def _play(api: Api, worker: Child, settings: Settings, traffic: DemoTraffic, seconds: float) -> Found:
    _introduce(traffic, seconds)
    with AlertFeed(settings) as feed, _progress() as bar:
        watch = _Watch(api, feed)
        task = bar.add_task("traffic", total=len(traffic.records))

        def step(count: int, ts: float) -> None:
            _go_on()
            bar.update(task, advance=count, description=f"event time {short_time(time_text(ts))}")
            watch.look()
            if not worker.running:
                raise ServiceUnavailableError(f"the worker ended: {worker.last_words()}")

        send_traffic(traffic, settings, seconds, step)
        bar.update(task, description="the worker finishes", total=None)
        _settle(watch, traffic.queries)
    found = _found(api, watch)
    if found is None:
        raise click.ClickException(
            f"no alert of an {CAMPAIGN} came; {watch.events:,} of {traffic.queries:,} queries were counted"
        )
    return found


def _introduce(traffic: DemoTraffic, seconds: float) -> None:
    click.echo(
        f"{traffic.queries:,} queries of {len(traffic.honest):,} honest accounts and of one campaign of "
        f"{len(traffic.hostile)} accounts:\n{traffic.hours:.0f} hours, played in {seconds:.0f} seconds\n"
    )


def _progress() -> Progress:
    quiet = not sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)


class _Watch:
    """Says each change of an alert once, while it happens."""

    def __init__(self, api: Api, feed: AlertFeed) -> None:
        self._api = api
        self._feed = feed
        self._said: set[tuple[str, str]] = set()
        self._next = 0.0
        self.first: dict[str, str] = {}  # campaign -> time of its first alert
        self.events = 0
        self.changed = time.monotonic()

    def look(self) -> None:
        """Ask the worker, not more often than every half second."""
        _go_on()
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + POLL_SECONDS
        try:
            events = self._api.events()
        except OSError:  # busy; the next look will tell
            return
        if events != self.events:
            self.events, self.changed = events, now
        for alert in self._feed.read():
            known = (alert["alert_id"], alert["at"])
            if known not in self._said:
                self._said.add(known)
                self.changed = now
                self._say(alert)

    def _say(self, alert: Json) -> None:
        if alert["verdict"] == CAMPAIGN and alert["status"] != "resolved" and alert["campaign_id"]:
            self.first.setdefault(alert["campaign_id"], alert["at"])
        if alert["severity"] == "info" and alert["status"] != "firing":
            return  # what nobody acts on is named once
        click.echo(
            f"{short_time(alert['at'])}  {alert['status']:<8} {alert['severity']:<8} {alert['verdict']}: "
            f"{alert['members']:,} accounts, {alert['exchanges']:,} exchanges, confidence {alert['confidence']:.3f}"
        )


def _settle(watch: _Watch, queries: int) -> None:
    """Wait until everything is counted and nothing has changed for a while."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        watch.look()
        enough = QUIET_SECONDS if watch.events >= queries else SILENT_SECONDS
        if time.monotonic() - watch.changed >= enough:
            return
        time.sleep(POLL_SECONDS)


def _found(api: Api, watch: _Watch) -> Found | None:
    """The largest extraction campaign that was alerted about."""
    alerts = [alert for alert in api.listed("alerts") if alert["campaign_id"] in watch.first]
    alerts = [alert for alert in alerts if alert["verdict"] == CAMPAIGN]
    if not alerts:
        return None
    alert = max(alerts, key=lambda item: item["exchanges"])
    decisions = [item for item in api.listed("decisions") if item["alert_id"] == alert["alert_id"]]
    decisions.sort(key=lambda item: (item["subject"]["scope"] == "campaign", item["at"]), reverse=True)
    campaign_id = alert["campaign_id"]
    return Found(alert, api.campaign(campaign_id), decisions, watch.first[campaign_id])


def _settings(services: Services, policy: Path | None) -> Settings:
    """Whole groups, so that nothing of the caller's environment reaches the demo."""
    kafka = Kafka(
        bootstrap=services.bootstrap,
        group="stream-guard-demo",
        session_timeout_seconds=6.0,
        rebalance_timeout_seconds=4.0,  # the embedded broker waits half of it whenever a group forms
        heartbeat_seconds=1.0,
        trust_high_watermark=False,
    )
    return Settings(
        kafka=kafka,
        redis=RedisServer(url=services.redis_url),
        partitions=Partitions(queries=2, deltas=2),
        runtime=Runtime(max_lead_seconds=7_200.0),  # event time runs a thousand times faster than the clock
        web=Web(port=free_port()),
        log=Log(level="WARNING"),
        policy=policy.absolute() if policy else None,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """The worker's: ours without what would steer it, and what differs from the defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name not in ALIASES}
    changed: dict[str, Any] = settings.model_dump(exclude_defaults=True)
    policy = changed.pop("policy", None)
    steered = {
        f"{PREFIX}{group.upper()}__{field.upper()}": str(value)
        for group, fields in changed.items()
        for field, value in fields.items()
    }
    return kept | steered | ({f"{PREFIX}POLICY": str(policy)} if policy else {})


def _wait_for_interrupt(worker: Child, environment: dict[str, str]) -> None:
    mine = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    click.echo("\nFor the commands above:")
    for name in (f"{PREFIX}{name}" for name in _OPERATORS_NEED):
        click.echo(f"  export {name}={mine[name]}")
    click.echo("\nCtrl-C ends everything.")
    with suppress(KeyboardInterrupt):
        while worker.running:
            _go_on()
            time.sleep(POLL_SECONDS)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """A closed terminal or a polite kill ends the demo as Ctrl-C does, children included."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _interrupted.clear()
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    """The first asks us to end where we wait: an exception that came while a child is being born would lose it.

    The next comes at once, for whoever cannot wait until the children have ended politely.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt
    _interrupted.set()


def _go_on() -> None:
    if _interrupted.is_set():
        raise KeyboardInterrupt
