"""What the detector is held to, as data: one line a target, each with what was measured.

A target asks every seed of its scenario and judges by the worst. It is `not measured` where its scenario did not run,
or without what it needs; a number that could not be had although the scenario ran is a miss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.evaluate.chronicle import calibration_error, summed
from stream_guard.evaluate.scoring import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream_guard.records import Json

    Values = Callable[[Json], list[float | None]]
    Measure = Callable[[Sequence[Json]], "Finding | None"]

MET: Final = "met"
MISSED: Final = "missed"
NOT_MEASURED: Final = "not measured"
EVERYTHING: Final = "all"
_TIMES: Final = 10.0  # as much as the product, a baseline leaks
_QUIET_DAYS: Final = 10.0
_CALIBRATION_ERROR: Final = 0.1


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured; `value` is the worst, None where there is no number."""

    met: bool
    measured: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Target:
    """One promise about some scenarios, each judged by itself."""

    name: str
    scenarios: tuple[str, ...]
    wanted: str
    measure: Measure


def judge_targets(trials: Sequence[Json]) -> list[Json]:
    """Judge every target.

    Args:
        trials: scores, of whatever scenarios and seeds.

    Returns:
        A JSON object for each target and scenario: `target`, `scenario`, `wanted`, `status` (`met`, `missed` or
        `not measured`), `measured` as text, `value` (the worst number, or null) and `seeds`.
    """
    rows = []
    for target in TARGETS:
        for scenario in target.scenarios:
            mine = [trial for trial in trials if scenario in {trial["scenario"], EVERYTHING}]
            finding = target.measure(mine) if mine else None
            rows.append(
                {
                    "target": target.name,
                    "scenario": scenario,
                    "wanted": target.wanted,
                    "status": NOT_MEASURED if finding is None else MET if finding.met else MISSED,
                    "measured": "-" if finding is None else finding.measured,
                    "value": None if finding is None else rounded(finding.value),
                    "seeds": len(mine),
                }
            )
    return rows


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _two_digits(value: float) -> str:
    return f"{value:.3f}"


def _points(value: float) -> str:
    return f"{100 * value:.1f} points off"


def _whole(value: float) -> str:
    return f"{value:g}"


def _at_most(limit: float, values: Values, show: Callable[[float], str] = _percent) -> Measure:
    return _worst(values, show, max, lambda worst: worst <= limit)


def _at_least(limit: float, values: Values, show: Callable[[float], str] = _two_digits) -> Measure:
    return _worst(values, show, min, lambda worst: worst >= limit)


def _worst(
    values: Values,
    show: Callable[[float], str],
    pick: Callable[[Sequence[float]], float],
    good: Callable[[float], bool],
) -> Measure:
    def measure(trials: Sequence[Json]) -> Finding | None:
        found = [value for trial in trials for value in values(trial)]
        known = [value for value in found if value is not None]
        if not found:
            return None
        if len(known) < len(found):
            worst = f", else at worst {show(pick(known))}" if known else ""
            return Finding(
                met=False, measured=f"no value in {len(found) - len(known)} of {len(found)}{worst}", value=None
            )
        worst_known = pick(known)
        return Finding(met=good(worst_known), measured=show(worst_known), value=worst_known)

    return measure


def _always(holds: Callable[[Json], list[bool]]) -> Measure:
    def measure(trials: Sequence[Json]) -> Finding | None:
        found = [one for trial in trials for one in holds(trial)]
        if not found:
            return None
        return Finding(met=all(found), measured=f"{sum(found)} of {len(found)}", value=sum(found) / len(found))

    return measure


def _attack(name: str) -> Values:
    return lambda trial: [attack.get(name) for attack in trial["attacks"]]


def _member(name: str) -> Values:
    return lambda trial: [(attack["at_end"] or {}).get(name) for attack in trial["attacks"]]


def _share_error(trial: Json) -> list[float | None]:
    return [
        None if attack.get("share_estimated") is None else abs(attack["share_estimated"] - attack["share"])
        for attack in trial["attacks"]
    ]


def _one_id(trial: Json) -> list[bool]:
    return [attack["same_id"] is True and attack["campaign_ids_alerted"] == 1 for attack in trial["attacks"]]


def _names_pivot(trial: Json) -> list[bool]:
    """Whether an alert about the attack counts a signal about a pivot as evidence."""
    return [
        any(("pivot" in name or "new_model" in name) and value > 0 for name, value in attack["signals"].items())
        for attack in trial["attacks"]
    ]


def _told_apart(trial: Json) -> list[bool]:
    """Attacks in one pool: several campaigns that alerted, or one whose components are as many as the attacks."""
    attacks = trial["attacks"]
    return [
        len(attacks) > 1
        and all(
            attack["campaign_ids_alerted"] > 1 or len(attack.get("components", ())) == len(attacks)
            for attack in attacks
        )
    ]


def _above_info(trial: Json) -> list[float | None]:
    counts = trial["honest"]["alerts_by_severity"]
    return [float(sum(count for severity, count in counts.items() if severity != "info"))]


def _is_resold(trial: Json) -> list[bool]:
    return [group["verdict"] == "reseller_pool" for group in trial["benign_groups"] if group["label"].startswith("B6-")]


def _quiet_alerts(trials: Sequence[Json]) -> Finding | None:
    days = sum(trial["days"] for trial in trials)
    if days < _QUIET_DAYS:
        return None
    alerts = sum(trial["honest"]["campaign_alerts"] for trial in trials)
    per_ten = alerts * _QUIET_DAYS / days
    return Finding(met=per_ten <= 1.0, measured=f"{per_ten:.2f} ({alerts} in {days:g} days)", value=per_ten)


def _quiet_acted_on(trials: Sequence[Json]) -> Finding | None:
    if sum(trial["days"] for trial in trials) < _QUIET_DAYS:
        return None
    honest = sum(trial["honest"]["accounts"] for trial in trials)
    acted = sum(trial["honest"]["acted_on"] for trial in trials)
    per = 1e5 * acted / max(honest, 1)
    return Finding(met=per <= 1.0, measured=f"{per:.2f} ({acted} of {honest} accounts)", value=per)


def _calibrated(part: str) -> Measure:
    def measure(trials: Sequence[Json]) -> Finding | None:
        bins = summed([trial["reliability"][part] for trial in trials if "reliability" in trial])
        error = calibration_error(bins)
        if error is None:
            return None
        count = round(sum(number for number, _, _ in bins))
        return Finding(met=error <= _CALIBRATION_ERROR, measured=f"{error:.3f} over {count} {part}", value=error)

    return measure


def _ten_times(baseline: str) -> Measure:
    """How many times as much a baseline leaks; infinitely as much where it misses what the product finds."""

    def measure(trials: Sequence[Json]) -> Finding | None:
        times = [
            _times_as_much(trial["baselines"][baseline], attack)
            for trial in trials
            if "baselines" in trial
            for attack in trial["attacks"][:1]  # a baseline is scored on all attacks of a trial at once
        ]
        if not times:
            return None
        least = min(times)
        missed = sum(math.isinf(one) for one in times)
        shown = [f"misses in {missed} of {len(times)}"] if missed else []
        if not math.isinf(least):
            shown.append(f"at least {least:.1f} times as much")
        return Finding(met=least >= _TIMES, measured=", ".join(shown), value=None if math.isinf(least) else least)

    return measure


def _times_as_much(found: Json, attack: Json) -> float:
    if not attack["detected"]:
        return float(found["leaked_share"] or 0.0)
    if (found["recall"] or 0.0) < 0.5:  # what counts as finding a campaign: half of its accounts
        return math.inf
    return float(found["leaked_share"] / attack["leaked_share"]) if attack["leaked_share"] else math.inf


def _numbered(letter: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in numbers)


_CAMPAIGNS: Final = _numbered("S", *range(2, 16))
_SOFT_RECALL: Final = _numbered("S", 2, 11, 12, 15)
_HONEST: Final = (*_numbered("B", *range(1, 11)), "B2-viral", "B2-app", "B6-new")
COMPARED: Final = _numbered("S", 2, 3, 7, 16)
BASELINES: Final = ("half_space_trees", "rate_limit", "shared_value")

TARGETS: Final = (
    Target(
        "detected", _numbered("S", *range(1, 16)), "found in every seed",
        _always(lambda trial: [attack["detected"] for attack in trial["attacks"]]),
    ),
    Target(
        "leak", _numbered("S", 3, 4, 7), "at most 1 % of its exchanges before the alert",
        _at_most(0.01, _attack("leaked_share")),
    ),
    Target(
        "leak", _numbered("S", 2, 5, 6, 8, 9, 10, 11, 12, 14, 15), "at most 5 % of its exchanges before the alert",
        _at_most(0.05, _attack("leaked_share")),
    ),
    Target(
        "second pool", ("S7",), "at most 0.5 % of the exchanges before the second pool is known",
        _at_most(0.005, _attack("second_pool_leaked_share")),
    ),
    Target(
        "before the bulk", ("S13",), "alerted before the bulk run",
        _always(lambda trial: [attack["alert_before_bulk"] for attack in trial["attacks"]]),
    ),
    Target("precision", _CAMPAIGNS, "members at the end: at least 0.99", _at_least(0.99, _member("precision"))),
    Target(
        "recall", tuple(name for name in _CAMPAIGNS if name not in _SOFT_RECALL), "members at the end: at least 0.95",
        _at_least(0.95, _member("recall")),
    ),
    Target("recall", _SOFT_RECALL, "members at the end: at least 0.9", _at_least(0.9, _member("recall"))),
    Target("one id", _numbered("S", 7, 8, 10), "one campaign id throughout", _always(_one_id)),
    Target("names the pivot", ("S9",), "the move to the new model is evidence", _always(_names_pivot)),
    Target(
        "share", ("S11", "S11-5", "S11-10", "S11-50"), "estimated share within 10 points",
        _at_most(0.10, _share_error, _points),
    ),
    Target("told apart", ("S12",), "two campaigns, or one with two components", _always(_told_apart)),
    Target(
        "nobody acted on", _HONEST, "no honest account acted on",
        _at_most(0, lambda trial: [trial["honest"]["acted_on"]], _whole),
    ),
    Target("no alarm", _HONEST, "no alert above info", _at_most(0, _above_info, _whole)),
    Target("verdict", ("B6", "B6-new"), "reseller_pool", _always(_is_resold)),
    Target("quiet: alerts", ("quiet",), "at most one campaign alert in ten days", _quiet_alerts),
    Target("quiet: acted on", ("quiet",), "at most 1 account in 100,000 acted on, over ten days", _quiet_acted_on),
    *(
        Target(f"confidence of {part}", (EVERYTHING,), "calibration error at most 0.1", _calibrated(part))
        for part in ("campaigns", "members")
    ),
    *(
        Target(f"beats {name}", COMPARED, "it leaks ten times as much, or misses", _ten_times(name))
        for name in BASELINES
    ),
)  # fmt: skip
