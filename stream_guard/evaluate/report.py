"""Scores of many trials as a table for people and one JSON object for programs."""

from __future__ import annotations

import re
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Final

from stream_guard import __version__
from stream_guard.evaluate.scoring import rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream_guard.records import Json

SCHEMA: Final = "stream_guard.evaluation.v1"
ATTACKS: Final = (
    "trial", "attack", "found after", "leaked", "of file", "of plan", "P/R then", "P/R end", "ids", "pages", "verdict",
)  # fmt: skip
HONEST: Final = ("trial", "honest accounts", "acted on", "worst", "taken for", "clear")
BASELINES: Final = ("trial", "baseline", "leaked", "of file", "recall", "honest flagged", "threshold")
_OF_SCENARIO: Final = re.compile(r"B\d")  # honest groups of the background are shown only where something befell them
METHOD: Final = {
    "leaked": "exchanges of the attack with event time before the first alert with verdict extraction_campaign about "
    "it (for an attack of one account: any account alert); all of them when there is none",
    "about": "an alert or campaign is about a group when they share at least half of either's accounts, and no fewer "
    "than three",
    "at_alert": "members at that alert: joined by then and not left",
    "at_end": "all members ever of the campaign that the first alert's id became, merges followed",
    "recall": "of all accounts of the attack; recall_seen: of those that had sent something",
    "campaign_ids": "campaigns about the attack that stand at the end; campaign_ids_alerted: those that ever alerted",
    "acted_on": "reached by an active decision beyond observe; dry-run decisions count",
    "clear": "no decision beyond observe, no alert above info, no alert with verdict extraction_campaign",
    "baselines": "thresholds set with the truth in hand, so that at most as many honest accounts are flagged as the "
    "product acted on in the same trial; an account leaks until it is flagged itself",
}


def evaluation(trials: Sequence[Json], options: Json, policy_sha256: str) -> Json:
    """Everything that was found; equal arguments and policy give equal objects."""
    by_scenario: dict[str, list[Json]] = defaultdict(list)
    for trial in trials:
        by_scenario[trial["scenario"]].append(trial)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "policy_sha256": policy_sha256,
        "options": options,
        "method": METHOD,
        "scenarios": {name: _summary(some) for name, some in by_scenario.items()},
        "trials": list(trials),
    }


def tables(trials: Sequence[Json]) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows of each table that has rows."""
    attacks, honest, baselines = [], [], []
    for trial in trials:
        name = f"{trial['scenario']}/{trial['seed']}"
        attacks += [(name, *_attack_row(attack)) for attack in trial["attacks"]]
        shown = [group for group in trial["benign_groups"] if _OF_SCENARIO.match(group["label"]) or not group["clear"]]
        honest += [(name, *_group_row(group)) for group in shown]
        if others := len(trial["benign_groups"]) - len(shown):
            honest.append((name, f"{others} other groups", "0", "-", "-", "yes"))
        honest.append((name, *_honest_row(trial["honest"])))
        found = trial.get("baselines", {})
        baselines += [(name, *_baseline_row(key, found[key])) for key in found if key != "honest_budget"]
    titles = (
        ("Attacks (P/R: precision/recall of members; ids: alerted/standing; ! = not the first id)", ATTACKS, attacks),
        ("Honest accounts", HONEST, honest),
        ("Baselines, with no more honest accounts flagged than ours acted on", BASELINES, baselines),
    )
    return [(title, columns, rows) for title, columns, rows in titles if rows]


def _attack_row(attack: Json) -> tuple[str, ...]:
    hours = attack["hours_to_alert"]
    extra = []
    if "alert_before_bulk" in attack:
        extra.append("before bulk" if attack["alert_before_bulk"] else "after bulk began")
    if "share_estimated" in attack:
        extra.append(f"share {_percent(attack['share_estimated'])} (true {_percent(attack['share'])})")
    verdict = attack["verdict_at_end"] or ("account alert" if attack["detected"] else "not found")
    return (
        f"{attack['label']} ({attack['accounts']})",
        "never" if hours is None else f"{hours:.2f} h",
        str(attack["leaked"]),
        _percent(attack["leaked_share"]),
        _percent(attack["leaked_share_of_planned"]),
        _pair(attack["at_alert"]),
        _pair(attack["at_end"]),
        f"{attack['campaign_ids_alerted']}/{attack['campaign_ids']}" + ("" if attack["same_id"] is not False else " !"),
        str(attack["critical_alerts"]),
        "; ".join([verdict, *extra]),
    )


def _group_row(group: Json) -> tuple[str, ...]:
    name = f"{group['label']} ({group['accounts']})"
    clear = "yes" if group["clear"] else "NO"
    return name, str(group["acted_on"]), group["worst_severity"] or "-", group["verdict"] or "-", clear


def _honest_row(honest: Json) -> tuple[str, ...]:
    severities = [name for name, count in honest["alerts_by_severity"].items() if count]
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in honest["alerts_by_verdict"].items())
    acted = f"{honest['acted_on']} ({_number(honest['acted_on_per_million'], 0)}/M)"
    clear = "NO" if honest["acted_on"] or set(severities) - {"info"} else "yes"
    return f"all ({honest['accounts']})", acted, severities[-1] if severities else "-", verdicts or "-", clear


def _baseline_row(name: str, found: Json) -> tuple[str, ...]:
    return (
        name,
        str(found["leaked"]),
        _percent(found["leaked_share"]),
        _number(found["recall"], 2),
        str(found["honest_flagged"]),
        f"{found['threshold']:g}",
    )


def _summary(trials: Sequence[Json]) -> Json:
    """Medians over seeds."""
    attacks = [attack for trial in trials for attack in trial["attacks"]]
    groups = [group for trial in trials for group in trial["benign_groups"]]
    found = [attack for attack in attacks if attack["detected"]]
    return {
        "trials": len(trials),
        "attacks": len(attacks),
        "detected": len(found),
        "median_hours_to_alert": _median(attack["hours_to_alert"] for attack in found),
        "median_leaked": _median(attack["leaked"] for attack in attacks),
        "median_leaked_share": _median(attack["leaked_share"] for attack in attacks),
        "median_leaked_share_of_planned": _median(attack["leaked_share_of_planned"] for attack in attacks),
        "median_precision_at_alert": _median(attack["at_alert"]["precision"] for attack in found),
        "median_recall_at_alert": _median(attack["at_alert"]["recall"] for attack in found),
        "median_precision_at_end": _median((attack["at_end"] or {}).get("precision") for attack in found),
        "median_recall_at_end": _median((attack["at_end"] or {}).get("recall") for attack in found),
        "same_id": sum(attack["same_id"] is True for attack in attacks),
        "benign_groups": len(groups),
        "benign_groups_clear": sum(group["clear"] for group in groups),
        "honest_accounts_acted_on": sum(trial["honest"]["acted_on"] for trial in trials),
        "median_honest_acted_on_per_million": _median(trial["honest"]["acted_on_per_million"] for trial in trials),
        "median_critical_per_day_elsewhere": _median(trial["honest"]["critical_per_day"] for trial in trials),
        "honest_alerts": sum(trial["honest"]["alerts"] for trial in trials),
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(median(known)) if known else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _pair(agreement: Json | None) -> str:
    if agreement is None:
        return "-"
    return f"{_number(agreement['precision'], 2)}/{_number(agreement['recall'], 2)}"
