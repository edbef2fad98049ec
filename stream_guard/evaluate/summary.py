"""A scenario over its seeds: medians and counts, and how sure they are."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING, Final

from stream_guard.evaluate.intervals import median_interval, rate_interval
from stream_guard.evaluate.scoring import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stream_guard.evaluate.intervals import Interval
    from stream_guard.records import Json

    Read = Callable[[Json], float | None]


def _at_end(name: str) -> Read:
    return lambda attack: (attack["at_end"] or {}).get(name)


# What has an interval over seeds; the value of a seed is the mean over its attacks that have one.
_OF_ATTACKS: Final[dict[str, Read]] = {
    "hours_to_alert": lambda attack: attack["hours_to_alert"],
    "leaked": lambda attack: attack["leaked"],
    "leaked_share": lambda attack: attack["leaked_share"],
    "leaked_share_of_planned": lambda attack: attack["leaked_share_of_planned"],
    "precision_at_end": _at_end("precision"),
    "recall_at_end": _at_end("recall"),
}


def summary(trials: Sequence[Json]) -> Json:
    """Summarise the trials of one scenario.

    Args:
        trials: its scores, one a seed.

    Returns:
        A JSON object; `intervals` holds what is known over seeds.
    """
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
        "intervals": _intervals(trials),
    }


def _intervals(trials: Sequence[Json]) -> Json:
    intervals: Json = {}
    seeds = [trial for trial in trials if trial["attacks"]]
    if seeds:
        complete = sum(all(attack["detected"] for attack in trial["attacks"]) for trial in seeds)
        intervals["detected"] = _shown(rate_interval(complete, len(seeds)), len(seeds))
    for name, read in _OF_ATTACKS.items():
        values = [value for trial in seeds if (value := _mean(map(read, trial["attacks"]))) is not None]
        if values:
            intervals[name] = _shown(median_interval(values), len(values))
    honest = sum(trial["honest"]["accounts"] for trial in trials)
    if honest:
        acted = rate_interval(sum(trial["honest"]["acted_on"] for trial in trials), honest)
        intervals["honest_acted_on_per_million"] = _shown(acted, len(trials), 1e6)
    return intervals


def _shown(interval: Interval, seeds: int, unit: float = 1.0) -> Json:
    return {
        "estimate": rounded(unit * interval.estimate),
        "low": rounded(unit * interval.low),
        "high": rounded(unit * interval.high),
        "confidence": rounded(interval.confidence),
        "seeds": seeds,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(median(known)) if known else None
