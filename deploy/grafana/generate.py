"""Write the dashboards: `python deploy/grafana/generate.py`. The JSON beside it is never edited by hand.

A panel is one line of a table: title, unit, queries, what it means. Every query is run by the tests against a worker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    GridPos,
)

DASHBOARDS: Final = Path(__file__).resolve().parent / "dashboards"
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
CAMPAIGNS: Final = "${console}/campaigns"
RATE: Final = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart; `queries` are pairs of legend and PromQL. A `number` is the last value, in a small box."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    text: str
    number: bool = False
    console: bool = False


def _number(title: str, query: str, text: str, *, unit: str = "short", console: bool = False) -> Panel:
    return Panel(title, unit, (("", query),), text, number=True, console=console)


def _share(part: str, window: str = RATE) -> str:
    return f"sum(rate({part}{window})) / clamp_min(sum(rate(stream_guard_events_total{window})), 1e-9)"


def _slow(name: str) -> str:
    return f"histogram_quantile(0.99, sum by (le, stage) (rate(stream_guard_{name}_seconds_bucket{RATE})))"


def _mean_contribution(window: str) -> str:
    spoke_for, against = (
        f'sum by (signal) (rate(stream_guard_signal_log_odds_total{{direction="{direction}"}}{window}))'
        for direction in ("for", "against")
    )
    number = f"sum by (signal) (rate(stream_guard_signal_contribution_count{window}))"
    return f"({spoke_for} - {against}) / {number}"


_DEGRADED: Final = _number("Redis degraded", "max(stream_guard_redis_degraded)", "1 = nothing is committed.")
_HELD: Final = _number("Decisions held", "max(stream_guard_decisions_held)", "They wait for a person.", console=True)
_KILL: Final = _number("Kill switch", "max(stream_guard_kill_switch_engaged)", "1 = no limit is in force.")
_CAMPAIGNS: Final = Panel(
    "Live campaigns by verdict",
    "short",
    (("{{verdict}}", "sum by (verdict) (stream_guard_campaigns)"),),
    "Campaigns that have members now.",
    console=True,
)
_ALERTS: Final = Panel(
    "Alerts by severity and status",
    "short",
    (("{{severity}} {{status}}", f"sum by (severity, status) (increase(stream_guard_alerts_total{RATE}))"),),
    "Transitions: firing, updated, resolved.",
    console=True,
)
_QUERIES: Final = Panel(
    "Queries",
    "reqps",
    tuple(
        (legend, f"sum(rate(stream_guard_{name}_total{RATE}))")
        for legend, name in (
            ("counted", "events"),
            ("duplicate", "duplicate_events"),
            ("late", "late_events"),
            ("limited by us", "limited_events"),
            ("left out, too many came", "shed_events"),
        )
    ),
    "Each counted once; duplicates and late ones change nothing.",
)
_DELAY: Final = Panel(
    "Event time behind the wall clock",
    "s",
    (("delay", "max(stream_guard_event_time_delay_seconds)"),),
    "Of the slowest partition.",
)

BOARDS: Final[dict[str, tuple[str, tuple[Panel, ...]]]] = {
    "overview": (
        "overview for on-call",
        (
            _number(
                "Extraction campaigns",
                'sum(stream_guard_campaigns{verdict="extraction_campaign"})',
                "Live campaigns with that verdict.",
                console=True,
            ),
            _number(
                "Leak, exchanges an hour",
                "sum(stream_guard_extraction_exchanges_per_hour)",
                "Of all live extraction campaigns together.",
                console=True,
            ),
            _HELD,
            _KILL,
            _number("Dry run", "max(stream_guard_dry_run)", "1 = decisions are simulated."),
            _DEGRADED,
            _CAMPAIGNS,
            _ALERTS,
            _QUERIES,
            _DELAY,
        ),
    ),
    "detection": (
        "detection quality and drift",
        (
            Panel(
                "Mean contribution of each signal",
                "short",
                (("{{signal}}", _mean_contribution("[1h]")),),
                "Log-odds, over alerts that fire or change. A signal that drifts to zero has been evaded or has aged.",
            ),
            Panel(
                "How often each signal is heard",
                "short",
                (("{{signal}}", "sum by (signal) (increase(stream_guard_signal_contribution_count[1h]))"),),
                "Alerts that fire or change, per hour.",
            ),
            Panel(
                "Contributions, median over all signals",
                "short",
                (
                    (
                        "median",
                        "histogram_quantile(0.5, sum by (le) (rate(stream_guard_signal_contribution_bucket[1h])))",
                    ),
                ),
                "A step without a release of ours means that traffic has changed.",
            ),
            Panel(
                "Alerts by verdict",
                "short",
                (("{{verdict}} {{scope}}", "sum by (verdict, scope) (increase(stream_guard_alerts_total[1h]))"),),
                "Transitions in an hour.",
                console=True,
            ),
            _CAMPAIGNS,
            Panel(
                "Late and duplicate share",
                "percentunit",
                (
                    ("late", _share("stream_guard_late_events_total")),
                    ("duplicate", _share("stream_guard_duplicate_events_total")),
                ),
                "Late queries are missing from evidence.",
            ),
        ),
    ),
    "engine": (
        "engine health",
        (
            _QUERIES,
            _DELAY,
            Panel(
                "Records that wait in Kafka",
                "short",
                (("{{topic}}", "sum by (topic) (stream_guard_lag_records)"),),
                "What autoscaling looks at.",
            ),
            Panel(
                "Refused records by reason",
                "reqps",
                (("{{reason}}", f"sum by (reason) (rate(stream_guard_dead_letters_total{RATE}))"),),
                "Each goes to the dead-letter topic.",
            ),
            Panel(
                "Oldest change without a checkpoint",
                "s",
                (("{{stage}}", "max by (stage) (stream_guard_checkpoint_age_seconds)"),),
                "What a restart would repeat.",
            ),
            Panel("Checkpoint duration, p99", "s", (("{{stage}}", _slow("checkpoint_duration")),), "Until durable."),
            Panel(
                "Envelope duration, p99",
                "s",
                (("{{stage}}", _slow("process_duration")),),
                "An envelope is one fetched list of records of one partition.",
            ),
            Panel(
                "States",
                "short",
                (
                    ("{{stage}} in memory", "sum by (stage) (stream_guard_state_rows)"),
                    ("{{stage}} waiting", "sum by (stage) (stream_guard_dirty_states)"),
                    ("evicted", f"sum(increase(stream_guard_evicted_accounts_total{RATE}))"),
                ),
                "Rows that are kept, and rows that wait for a checkpoint.",
            ),
            Panel(
                "Cold starts and fenced partitions",
                "short",
                (
                    ("cold: {{reason}}", f"sum by (reason) (increase(stream_guard_cold_starts_total{RATE}))"),
                    ("fenced", f"sum(increase(stream_guard_fenced_total{RATE}))"),
                ),
                "After a rebalance, or when states are lost.",
            ),
            Panel(
                "Memory and processor of the workers",
                "short",
                (
                    ("bytes {{instance}}", "sum by (instance) (stream_guard_process_resident_memory_bytes)"),
                    ("cores {{instance}}", f"sum by (instance) (rate(stream_guard_process_cpu_seconds_total{RATE}))"),
                ),
                "Of each worker.",
            ),
        ),
    ),
    "decisions": (
        "decisions and gateways",
        (
            _HELD,
            _KILL,
            _DEGRADED,
            _number(
                "Gateways that report", 'max(stream_guard_enforcers{state="reporting"})', "Silent ones raise an alert."
            ),
            Panel(
                "Decisions by action and status",
                "short",
                (
                    (
                        "{{action}} {{status}}",
                        f"sum by (action, status) (increase(stream_guard_decisions_total{RATE}))",
                    ),
                ),
                "Changes of decisions.",
                console=True,
            ),
            Panel(
                "Simulated or real",
                "short",
                (
                    (
                        "simulated: {{simulated}}",
                        "sum by (simulated) (increase(stream_guard_decisions_total[1h]))",
                    ),
                ),
                "In a dry run all are simulated.",
            ),
            Panel(
                "Drift of gateways",
                "short",
                (("{{kind}}", "max by (kind) (stream_guard_enforcer_drift_decisions)"),),
                "missing = decided and not carried out; stale = the reverse.",
            ),
            Panel(
                "Answers that we shaped",
                "reqps",
                (("limited", f"sum(rate(stream_guard_limited_events_total{RATE}))"),),
                "Such answers are never evidence.",
            ),
        ),
    ),
}


def _build(panel: Panel, place: GridPos, number: int) -> stat.Panel | timeseries.Panel:
    chart: stat.Panel | timeseries.Panel = stat.Panel() if panel.number else timeseries.Panel()
    chart.id(number).title(panel.title).description(panel.text).unit(panel.unit)
    chart.datasource(SOURCE).grid_pos(place)
    for letter, (legend, query) in zip("ABCDEF", panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query).legend_format(legend).datasource(SOURCE)
        chart.with_target(target)
    if panel.console:
        link = board.DashboardLink("Open in the console").type(DashboardLinkType.LINK).url(CAMPAIGNS)
        chart.links([link.target_blank(target_blank=True)])
    return chart


def dashboard_json(name: str) -> str:
    """One dashboard as Grafana reads it."""
    title, panels = BOARDS[name]
    made = board.Dashboard(f"stream_guard: {title}").uid(f"stream-guard-{name}").tags(["stream-guard"])
    made.readonly().timezone("browser").refresh("15s").time("now-3h", "now").tooltip(DashboardCursorSync.CROSSHAIR)
    others = board.DashboardLink("stream_guard").type(DashboardLinkType.DASHBOARDS).tags(["stream-guard"])
    made.link(others.keep_time(keep_time=True))
    console = board.TextBoxVariable("console").label("Console").default_value("http://127.0.0.1:6066/console")
    made.with_variable(console)
    fired = 'stream_guard_alerts_total{scope="campaign", status="firing"}'
    fires = f"sum by (verdict, severity) (increase({fired}[1m]) > 0 or ({fired} unless {fired} offset 1m))"  # or first
    made.annotation(
        board.AnnotationQuery().name("Campaigns").datasource(SOURCE).enable(enable=True).icon_color("red").expr(fires)
    )
    numbers = count(1)
    small = [panel for panel in panels if panel.number]
    large = [panel for panel in panels if not panel.number]
    for index, panel in enumerate(small):
        made.with_panel(_build(panel, GridPos(x=4 * index, y=0, w=4, h=4), next(numbers)))
    top = 4 if small else 0
    for index, panel in enumerate(large):
        place = GridPos(x=12 * (index % 2), y=top + 8 * (index // 2), w=12, h=8)
        made.with_panel(_build(panel, place, next(numbers)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write them all."""
    for name in BOARDS:
        (DASHBOARDS / f"{name}.json").write_text(dashboard_json(name), encoding="utf-8")


if __name__ == "__main__":
    main()
