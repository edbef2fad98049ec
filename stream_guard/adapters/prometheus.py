"""Metrics in Prometheus' format. Counters grow once a batch; labels are stages, topics and enumerations only.

What several partitions of a stage report is put together when scraped: the latest checkpoint and the watermark are
the worst of them, dirty states, rows and lag their sum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from stream_guard import __version__
from stream_guard.records import AlertStatus, DecisionStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from stream_guard.ports import Output
    from stream_guard.records import Alert, Campaign, Decision

PREFIX: Final = "stream_guard"
OTHER: Final = "other"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECORDS: Final = (1, 10, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000)
_LOG_ODDS: Final = (-8.0, -4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_LAG_IS_OLD_SECONDS: Final = 30.0  # reported every second while the partition is ours
_ENDED: Final = (DecisionStatus.RELEASED, DecisionStatus.EXPIRED)


@dataclass(slots=True)
class _Node:
    """Last report of one partition of a stage."""

    stage: str
    dirty: int = 0
    rows: int = 0
    watermark: float | None = None
    waiting_since: float | None = None  # monotonic time of the oldest change that is in no checkpoint


@dataclass(slots=True)
class _Live:
    """What is going on, as far as this worker has published it since it started."""

    campaigns: dict[str, Campaign] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)


class Metrics:
    """`app.health.MetricsPort`. A `node` is a stage and partition, such as `accounts:3`.

    Args:
        signals: names of the signals that evidence can hold; any other is `other`.
        reasons: names of the reasons of dead letters; any other is `other`.
        dry_run: whether decisions are simulated.
        assigned: nodes that are this worker's now; None = all that ever reported.
        strict: raise on a count of unknown name instead of counting it in `unknown_counts_total`; for tests.
        wall: Unix seconds.
        monotonic: monotonic seconds.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(  # noqa: PLR0913 # independent, all named
        self,
        *,
        signals: Iterable[str] = (),
        reasons: Iterable[str] = (),
        dry_run: bool = True,
        assigned: Callable[[], Collection[str]] | None = None,
        strict: bool = False,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self._signals = frozenset({*signals, "prior", "agreement", "breadth"})
        self._reasons = frozenset(reasons)
        self._assigned, self._strict, self._wall, self._monotonic = assigned, strict, wall, monotonic
        self._nodes: dict[str, _Node] = {}
        self._lag: dict[tuple[str, int], tuple[int, float]] = {}
        self._live = _Live()
        self._make_counters()
        self._make_others(dry_run=dry_run)
        self.registry.register(_Together(self._together))
        ProcessCollector(namespace=PREFIX, registry=self.registry)

    def _make_counters(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=PREFIX, registry=self.registry)

        self._cold_starts = counter("cold_starts", "States or partitions that started without history.", "reason")
        self._counters = {
            "events": counter("events", "Queries counted once each."),
            "duplicates": counter("duplicate_events", "Queries seen before."),
            "late": counter("late_events", "Queries older than the allowed lateness."),
            "limited": counter("limited_events", "Queries whose answer a decision of ours shaped."),
            "shed": counter("shed_events", "Queries left out because too many came; see the log for when."),
            "evicted": counter("evicted_accounts", "Accounts moved out of memory."),
            "cold_starts": self._cold_starts.labels("unreadable_state"),
        }
        self._unknown = counter("unknown_counts", "Counts that no metric stands for; a defect.")
        self._letters = counter("dead_letters", "Records refused.", "reason")
        self._alerts = counter("alerts", "Transitions of alerts.", "status", "severity", "verdict", "scope")
        # A histogram that takes negative numbers has no sum, and a counter cannot fall: one sum for each direction.
        self._log_odds = counter(
            "signal_log_odds", "Sum of log-odds by signal, over alerts that fire or change.", "signal", "direction"
        )
        self._decisions = counter("decisions", "Changes of decisions.", "action", "status", "simulated")
        self._fenced = counter("fenced", "Partitions given up because another worker owns them.")
        self._cold_starts.labels("no_checkpoint")
        for reason in self._reasons:
            self._letters.labels(reason)

    def _make_others(self, *, dry_run: bool) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace=PREFIX, registry=self.registry)

        def histogram(name: str, text: str, buckets: Iterable[float], label: str) -> Histogram:
            return Histogram(name, text, (label,), namespace=PREFIX, buckets=tuple(buckets), registry=self.registry)

        self._campaigns = gauge("campaigns", "Live campaigns.", "verdict")
        self._leak = gauge("extraction_exchanges_per_hour", "Of all live extraction campaigns together.")
        self._held = gauge("decisions_held", "Decisions that wait for a person.")
        self._degraded = gauge("redis_degraded", "1 while checkpoints cannot be written.")
        self._kill_switch = gauge("kill_switch_engaged", "1 while no limit is in force.")
        self._checkpoint_seconds = histogram("checkpoint_duration_seconds", "Time of a checkpoint.", _SECONDS, "stage")
        self._process_seconds = histogram("process_duration_seconds", "Time of an envelope.", _SECONDS, "stage")
        self._batch_records = histogram("batch_records", "Records of an envelope.", _RECORDS, "stage")
        self._contribution = histogram(
            "signal_contribution", "Log-odds by signal, over alerts that fire or change.", _LOG_ODDS, "signal"
        )
        gauge("dry_run", "1 while decisions are simulated.").set(dry_run)
        gauge("build_info", "Version.", "version").labels(__version__).set(1)
        for verdict in Verdict:
            self._campaigns.labels(verdict.value)

    # What the runtime reports -----------------------------------------------------------------------------------

    def observe_output(self, node: str, output: Output) -> None:
        """Count what one envelope or idle step gave.

        Raises:
            ValueError: in strict mode, a count has no metric.
        """
        state = self._node(node)
        if state.waiting_since is None:
            state.waiting_since = self._monotonic()
        for name, count in output.counts.items():
            self._count(name, count)
        for letter in output.dead_letters:
            self._letters.labels(letter.reason if letter.reason in self._reasons else OTHER).inc()
        for alert in output.alerts:
            self._observe_alert(alert)
        for decision in output.decisions:
            self._observe_decision(decision)
        if output.campaigns or output.alerts:
            self._observe_campaigns(output.campaigns, output.alerts)

    def observe_batch(self, node: str, records: int, seconds: float) -> None:
        """An envelope of `records` took `seconds`."""
        stage = self._node(node).stage
        self._batch_records.labels(stage).observe(records)
        self._process_seconds.labels(stage).observe(seconds)

    def checkpoint(self, node: str, seconds: float) -> None:
        """A checkpoint became durable after `seconds`."""
        state = self._node(node)
        state.waiting_since = None
        self._checkpoint_seconds.labels(state.stage).observe(seconds)

    def dirty(self, node: str, count: int) -> None:
        """States that wait for the next checkpoint."""
        self._node(node).dirty = count

    def rows(self, node: str, count: int) -> None:
        """Accounts, clusters or campaigns that a node keeps."""
        self._node(node).rows = count

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Records of a logical topic's partition that wait in Kafka."""
        self._lag[str(topic), partition] = (records, self._monotonic())

    def watermark(self, node: str, ts: float) -> None:
        """Event time seen by a node."""
        self._node(node).watermark = ts

    def degraded(self, active: bool) -> None:  # noqa: FBT001 # as in the protocol
        """Redis is away: scoring goes on from memory, nothing is committed."""
        self._degraded.set(active)

    def kill_switch(self, engaged: bool) -> None:  # noqa: FBT001 # called by `KillSwitch.watch` with what it saw
        """No limit is in force."""
        self._kill_switch.set(engaged)

    def fenced(self) -> None:
        """A partition was given up because another worker owns it."""
        self._fenced.inc()

    def cold_start(self, reason: str, count: int) -> None:
        """States or partitions that started without history; `reason` comes from the runtime's own words."""
        self._cold_starts.labels(reason).inc(count)

    def render(self) -> bytes:
        """Everything, to be sent as `content_type`."""
        return generate_latest(self.registry)

    # How it is put together -------------------------------------------------------------------------------------

    def _node(self, name: str) -> _Node:
        state = self._nodes.get(name)
        if state is None:
            state = self._nodes[name] = _Node(name.partition(":")[0])
        return state

    def _count(self, name: str, count: int) -> None:
        counter = self._counters.get(name)
        if counter is not None:
            counter.inc(count)
        elif self._strict:
            raise ValueError(f"no metric stands for the count {name!r}")
        else:
            self._unknown.inc(count)

    def _observe_alert(self, alert: Alert) -> None:
        self._alerts.labels(alert.status.value, alert.severity.value, alert.verdict.value, alert.scope.value).inc()
        if alert.status is not AlertStatus.RESOLVED:
            for term in alert.evidence:
                signal = term.signal if term.signal in self._signals else OTHER
                self._contribution.labels(signal).observe(term.contribution)
                self._log_odds.labels(signal, "for").inc(max(term.contribution, 0.0))
                self._log_odds.labels(signal, "against").inc(max(-term.contribution, 0.0))

    def _observe_decision(self, decision: Decision) -> None:
        simulated = "true" if decision.simulated else "false"
        self._decisions.labels(decision.action.value, decision.status.value, simulated).inc()
        if decision.status is DecisionStatus.HELD:
            self._live.held.add(decision.decision_id)
        else:
            self._live.held.discard(decision.decision_id)
        self._held.set(len(self._live.held))

    def _observe_campaigns(self, campaigns: Iterable[Campaign], alerts: Iterable[Alert]) -> None:
        live = self._live.campaigns
        for campaign in campaigns:
            present = any(member.left_at is None for member in campaign.members)
            if present and campaign.merged_into is None:
                live[campaign.campaign_id] = campaign
            else:
                live.pop(campaign.campaign_id, None)
        for alert in alerts:
            if alert.status is AlertStatus.RESOLVED and alert.campaign_id is not None:
                live.pop(alert.campaign_id, None)
        for verdict in Verdict:
            self._campaigns.labels(verdict.value).set(sum(item.verdict is verdict for item in live.values()))
        extraction = (item for item in live.values() if item.verdict is Verdict.EXTRACTION_CAMPAIGN)
        self._leak.set(sum(item.exchanges_per_hour for item in extraction))

    def _together(self) -> Iterator[Metric]:
        if self._assigned is not None:
            mine = set(self._assigned())
            self._nodes = {name: node for name, node in self._nodes.items() if name in mine}
        now = self._monotonic()
        by_stage: dict[str, list[_Node]] = {}
        for _, node in sorted(self._nodes.items()):
            by_stage.setdefault(node.stage, []).append(node)
        age = _family("checkpoint_age_seconds", "How long the oldest change has waited for a checkpoint.", "stage")
        dirty = _family("dirty_states", "States that wait for a checkpoint.", "stage")
        rows = _family("state_rows", "Accounts, clusters or campaigns kept in memory.", "stage")
        seen = _family("watermark_timestamp_seconds", "Event time of the slowest partition.", "stage")
        for stage, nodes in by_stage.items():
            since = [node.waiting_since for node in nodes if node.waiting_since is not None]
            age.add_metric((stage,), now - min(since) if since else 0.0)
            dirty.add_metric((stage,), sum(node.dirty for node in nodes))
            rows.add_metric((stage,), sum(node.rows for node in nodes))
            marks = [node.watermark for node in nodes if node.watermark is not None]
            if marks:
                seen.add_metric((stage,), min(marks))
        yield from (age, dirty, rows, seen)
        for stage, name in (("accounts", "accounts"), ("clusters", "clusters")):
            total = sum(node.rows for node in by_stage.get(stage, ()))
            yield GaugeMetricFamily(f"{PREFIX}_{name}", f"Known {name}.", total)
        watermarks = [node.watermark for node in self._nodes.values() if node.watermark is not None]
        delay = max(0.0, self._wall() - min(watermarks)) if watermarks else 0.0
        yield GaugeMetricFamily(f"{PREFIX}_event_time_delay_seconds", "Wall clock minus slowest event time.", delay)
        yield self._lag_family(now)

    def _lag_family(self, now: float) -> Metric:
        self._lag = {key: item for key, item in self._lag.items() if now - item[1] <= _LAG_IS_OLD_SECONDS}
        totals: dict[str, int] = {}
        for (topic, _), (records, _) in sorted(self._lag.items()):
            totals[topic] = totals.get(topic, 0) + records
        lag = _family("lag_records", "Records that wait in Kafka.", "topic")
        for topic, records in totals.items():
            lag.add_metric((topic,), records)
        return lag


class _Together(Collector):
    """Runs a function at each scrape."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def _family(name: str, text: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=(label,))
