"""What the metrics say after what the runtime reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_guard.adapters.prometheus import Metrics
from stream_guard.decode import DeadLetterReason
from stream_guard.ports import Output, Topic
from stream_guard.records import AlertStatus, DeadLetter, DecisionStatus, Member, Verdict
from tests.support.made import AT, alert, campaign, decision

if TYPE_CHECKING:
    from collections.abc import Collection

    from stream_guard.app.health import MetricsPort


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock | None = None, assigned: Collection[str] | None = None) -> Metrics:
    return Metrics(
        signals=["shared_template"],
        reasons=DeadLetterReason,
        strict=True,
        monotonic=clock or Clock(),
        wall=lambda: AT + 30.0,
        assigned=None if assigned is None else lambda: assigned,
    )


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_it_is_what_the_runtime_wants() -> None:
    port: MetricsPort = made()
    port.observe_output("accounts:0", Output())


def test_counts_grow_by_the_batch() -> None:
    metrics = made()
    for _ in range(2):
        metrics.observe_output("accounts:0", Output(counts={"events": 500, "duplicates": 3, "late": 2, "limited": 1}))
    assert value(metrics, "stream_guard_events_total") == 1_000
    assert value(metrics, "stream_guard_duplicate_events_total") == 6
    assert value(metrics, "stream_guard_late_events_total") == 4
    assert value(metrics, "stream_guard_limited_events_total") == 2


def test_an_unknown_count_is_a_defect() -> None:
    with pytest.raises(ValueError, match="bananas"):
        made().observe_output("accounts:0", Output(counts={"bananas": 1}))
    metrics = Metrics()
    metrics.observe_output("accounts:0", Output(counts={"bananas": 1}))
    assert value(metrics, "stream_guard_unknown_counts_total") == 1


def test_dead_letters_are_counted_by_known_reasons_only() -> None:
    metrics = made()
    letters = [DeadLetter("t", 0, 0, reason, "", "") for reason in ("not_json", "not_json", "acc_777")]
    metrics.observe_output("accounts:0", Output(dead_letters=letters))
    assert value(metrics, "stream_guard_dead_letters_total", reason="not_json") == 2
    assert value(metrics, "stream_guard_dead_letters_total", reason="other") == 1
    assert value(metrics, "stream_guard_dead_letters_total", reason="too_large") == 0


def test_campaigns_come_and_go() -> None:
    metrics = made()
    other = campaign(campaign_id="cmp_2", verdict=Verdict.RESELLER_POOL)
    metrics.observe_output("campaigns:0", Output(campaigns=[campaign(), other]))
    assert value(metrics, "stream_guard_campaigns", verdict="extraction_campaign") == 1
    assert value(metrics, "stream_guard_campaigns", verdict="reseller_pool") == 1
    assert value(metrics, "stream_guard_extraction_exchanges_per_hour") == 512.5
    metrics.observe_output("campaigns:0", Output(campaigns=[campaign(members=(Member("a", AT, AT, 1.0),))]))
    assert value(metrics, "stream_guard_extraction_exchanges_per_hour") == 0
    metrics.observe_output("campaigns:0", Output(alerts=[alert(campaign_id="cmp_2", status=AlertStatus.RESOLVED)]))
    assert value(metrics, "stream_guard_campaigns", verdict="reseller_pool") == 0


def test_alerts_and_decisions_are_counted_by_kind() -> None:
    metrics = made()
    metrics.observe_output("campaigns:0", Output(alerts=[alert()], decisions=[decision(status=DecisionStatus.HELD)]))
    assert (
        value(
            metrics,
            "stream_guard_alerts_total",
            status="firing",
            severity="critical",
            verdict="extraction_campaign",
            scope="campaign",
        )
        == 1
    )
    assert value(metrics, "stream_guard_decisions_held") == 1
    assert value(metrics, "stream_guard_signal_contribution_count", signal="shared_template") == 1
    assert value(metrics, "stream_guard_signal_contribution_count", signal="other") == 1
    log_odds = "stream_guard_signal_log_odds_total"
    assert value(metrics, log_odds, signal="shared_template", direction="for") == pytest.approx(4.123456789012)
    assert value(metrics, log_odds, signal="prior", direction="against") == 3.0
    assert value(metrics, log_odds, signal="prior", direction="for") == 0.0
    metrics.observe_output("campaigns:0", Output(decisions=[decision(simulated=True)]))
    assert value(metrics, "stream_guard_decisions_held") == 0
    name = "stream_guard_decisions_total"
    assert value(metrics, name, action="limit", status="active", simulated="true") == 1


def test_the_age_of_a_checkpoint_grows_only_while_something_waits() -> None:
    clock = Clock()
    metrics = made(clock)
    metrics.observe_output("accounts:0", Output())
    clock.now = 40.0
    metrics.observe_output("accounts:1", Output())
    assert value(metrics, "stream_guard_checkpoint_age_seconds", stage="accounts") == 40.0
    metrics.checkpoint("accounts:0", 0.02)
    assert value(metrics, "stream_guard_checkpoint_age_seconds", stage="accounts") == 0.0
    metrics.checkpoint("accounts:1", 0.02)
    clock.now = 4_000.0
    assert value(metrics, "stream_guard_checkpoint_age_seconds", stage="accounts") == 0.0
    assert value(metrics, "stream_guard_checkpoint_duration_seconds_count", stage="accounts") == 2


def test_partitions_of_a_stage_are_put_together_and_forgotten_with_the_assignment() -> None:
    assigned = {"accounts:0", "accounts:1"}
    metrics = made(assigned=assigned)
    for number, node in enumerate(("accounts:0", "accounts:1")):
        metrics.watermark(node, AT + 10.0 * number)
        metrics.dirty(node, 100)
        metrics.rows(node, 7)
    assert value(metrics, "stream_guard_watermark_timestamp_seconds", stage="accounts") == AT
    assert value(metrics, "stream_guard_event_time_delay_seconds") == 30.0
    assert value(metrics, "stream_guard_dirty_states", stage="accounts") == 200
    assert value(metrics, "stream_guard_accounts") == 14
    assigned.remove("accounts:0")
    assert value(metrics, "stream_guard_dirty_states", stage="accounts") == 100
    assert value(metrics, "stream_guard_event_time_delay_seconds") == 20.0


def test_lag_is_summed_by_topic_and_goes_out_of_date() -> None:
    clock = Clock()
    metrics = made(clock)
    metrics.lag(Topic.QUERIES, 0, 10)
    metrics.lag(Topic.QUERIES, 1, 5)
    assert value(metrics, "stream_guard_lag_records", topic="stream_guard.queries.v1") == 15
    clock.now = 60.0
    metrics.lag(Topic.QUERIES, 1, 2)
    assert value(metrics, "stream_guard_lag_records", topic="stream_guard.queries.v1") == 2


def test_the_page_parses_and_names_nobody() -> None:
    metrics = made()
    metrics.observe_output("campaigns:0", Output(alerts=[alert()], decisions=[decision()], campaigns=[campaign()]))
    metrics.observe_batch("campaigns:0", 2_000, 0.01)
    metrics.degraded(True)  # noqa: FBT003 # as the runtime calls it
    metrics.kill_switch(True)  # noqa: FBT003 # as the switch calls it
    metrics.fenced()
    metrics.cold_start("no_checkpoint", 2)
    page = metrics.render().decode()
    families = list(text_string_to_metric_families(page))
    assert all(family.name.startswith("stream_guard_") for family in families)
    for name in ("acc_1", "cmp_1", "dec_1", "alr_1"):
        assert name not in page
    assert value(metrics, "stream_guard_dry_run") == 1
    assert value(metrics, "stream_guard_redis_degraded") == 1
    assert value(metrics, "stream_guard_kill_switch_engaged") == 1
    assert value(metrics, "stream_guard_cold_starts_total", reason="no_checkpoint") == 2
    assert "text/plain" in metrics.content_type
