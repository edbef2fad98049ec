"""An evaluation as tables for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from stream_guard.evaluate.families import COLUMNS as FAMILIES
from stream_guard.evaluate.families import family_rows
from stream_guard.evaluate.targets import NOT_MEASURED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream_guard.records import Json

    Rows = list[tuple[str, ...]]

ATTACKS: Final = (
    "trial", "attack", "found after", "leaked", "of file", "of plan", "P/R then", "P/R end", "ids", "pages", "verdict",
)  # fmt: skip
HONEST: Final = ("trial", "honest accounts", "acted on", "worst", "taken for", "clear")
BASELINES: Final = (
    "trial",
    "baseline",
    "leaked",
    "of file",
    "recall",
    "honest flagged",
    "threshold",
    "of file at 1/1,000",
)
OVER_SEEDS: Final = (
    "scenario", "seeds", "found", "hours to alert", "leaked of file", "of plan", "precision end", "recall end",
    "acted on/M",
)  # fmt: skip
LADDER: Final = ("rung", "evasion", "found", "leaked of file", "useful a day", "throughput", "honest acted on")
ABLATION: Final = ("without", "scenario", "found", "leaked", "precision", "recall", "honest acted on", "effect")
TARGETS: Final = ("target", "scenario", "wanted", "measured", "seeds", "status")
_OF_SCENARIO: Final = re.compile(r"B\d")  # honest groups of the background are shown only where something befell them


def tables(report: Json) -> list[tuple[str, tuple[str, ...], Rows]]:
    """Title, columns and rows of each table that has rows.

    Args:
        report: what `evaluation` gives.
    """
    attacks, honest, baselines = [], [], []
    for trial in report["trials"]:
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
        ("Real question lists, over all accounts of the pool", FAMILIES, family_rows(report["families"])),
        ("Honest accounts", HONEST, honest),
        ("Baselines, with no more honest accounts flagged than ours acted on", BASELINES, baselines),
        ("Over seeds: median [interval], rates [Clopper-Pearson 95 %]", OVER_SEEDS, over_seeds(report)),
        (
            "Evasion ladder: found [Clopper-Pearson 95 %], and what is left of the throughput",
            LADDER,
            ladder_rows(report),
        ),
        ("Without a part of the signals: with > without, over the seeds", ABLATION, ablation_rows(report["ablation"])),
        ("Targets, by the worst seed", TARGETS, target_rows(report["targets"])),
    )
    return [(title, columns, rows) for title, columns, rows in titles if rows]


def over_seeds(report: Json) -> Rows:
    """A row for each scenario."""
    rows: Rows = []
    for name, found in report["scenarios"].items():
        known = found["intervals"]
        rows.append(
            (
                name,
                str(found["trials"]),
                _interval(known.get("detected"), lambda share: f"{100 * share:.0f} %"),
                _interval(known.get("hours_to_alert"), lambda hours: f"{hours:.2f}"),
                _interval(known.get("leaked_share"), _percent),
                _interval(known.get("leaked_share_of_planned"), _percent),
                _interval(known.get("precision_at_end"), lambda share: f"{share:.3f}"),
                _interval(known.get("recall_at_end"), lambda share: f"{share:.3f}"),
                _interval(known.get("honest_acted_on_per_million"), lambda rate: f"{rate:.0f}"),
            )
        )
    return rows


def ladder_rows(report: Json) -> Rows:
    """A row for each rung that ran."""
    return [
        (
            row["rung"],
            row["title"],
            f"{row['found']} of {row['seeds']} [{100 * row['found_low']:.0f} %, {100 * row['found_high']:.0f} %]",
            _percent(row["leaked_share"]),
            _number(row["useful_a_day"], 0),
            "-" if row["throughput"] is None else f"{100 * row['throughput']:.0f} %",
            str(row["honest_acted_on"]),
        )
        for row in report["ladder"]
    ]


def ablation_rows(ablation: Sequence[Json]) -> Rows:
    """A row for each part and scenario where it matters, then those that did not matter anywhere."""
    rows: Rows = [
        (
            row["part"],
            row["scenario"],
            f"{row['with']['found']} > {row['without']['found']} of {row['seeds']}",
            *(
                f"{show(row['with'][name])} > {show(row['without'][name])}"
                for name, show in (("leaked_share", _percent), ("precision", _share), ("recall", _share))
            ),
            f"{row['with']['honest_acted_on']} > {row['without']['honest_acted_on']}",
            row["effect"],
        )
        for row in ablation
        if row["effect"]
    ]
    telling = {row["part"] for row in ablation if row["effect"]}
    silent = [name for name in dict.fromkeys(row["part"] for row in ablation) if name not in telling]
    if silent:
        rows.append((", ".join(silent), "all", "-", "-", "-", "-", "-", "no change worth a word"))
    return rows


def target_rows(targets: Sequence[Json]) -> Rows:
    """A row for each target that was measured, and one that counts the others."""
    rows: Rows = [
        (row["target"], row["scenario"], row["wanted"], row["measured"], str(row["seeds"]), row["status"])
        for row in targets
        if row["status"] != NOT_MEASURED
    ]
    if others := len(targets) - len(rows):
        rows.append((f"{others} others", "-", "-", "-", "-", NOT_MEASURED))
    return rows


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
        _percent(found.get("one_in_a_thousand", {}).get("leaked_share")),
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _interval(found: Json | None, show: Callable[[float], str]) -> str:
    """Estimate, and the interval where more than one seed gives one."""
    if found is None:
        return "-"
    if not found["confidence"]:
        return show(found["estimate"])
    return f"{show(found['estimate'])} [{show(found['low'])}, {show(found['high'])}]"


def _share(value: float | None) -> str:
    return _number(value, 3)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _pair(agreement: Json | None) -> str:
    if agreement is None:
        return "-"
    return f"{_number(agreement['precision'], 2)}/{_number(agreement['recall'], 2)}"
