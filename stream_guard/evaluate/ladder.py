"""The evasion ladder: what each evasion does to detection, and what it costs the attacker in throughput."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from stream_guard.evaluate.intervals import rate_interval
from stream_guard.evaluate.scoring import rounded
from stream_guard.simulate import LADDER, SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.records import Json


def ladder(trials: Sequence[Json]) -> list[Json]:
    """Sum the rungs up.

    Args:
        trials: scores; those of other scenarios are passed over.

    Returns:
        By rung: how often it was found over the seeds, with a Clopper-Pearson interval; the mean share leaked; mean
        useful exchanges a day (extraction, answered) and their share of the base's, null without the base.
    """
    rows = []
    base = _useful([trial for trial in trials if trial["scenario"] == LADDER[0]])
    for rung in LADDER:
        mine = [trial for trial in trials if trial["scenario"] == rung]
        if not mine:
            continue
        attacks = [attack for trial in mine for attack in trial["attacks"]]
        found = rate_interval(sum(attack["detected"] for attack in attacks), len(attacks))
        useful = _useful(mine)
        rows.append(
            {
                "rung": rung,
                "title": SCENARIOS[rung].title.removeprefix("ladder, ").removeprefix("ladder: "),
                "evasions": attacks[0]["evasions"],
                "seeds": len(mine),
                "found": sum(attack["detected"] for attack in attacks),
                "found_share": rounded(found.estimate),
                "found_low": rounded(found.low),
                "found_high": rounded(found.high),
                "leaked_share": rounded(fmean(attack["leaked_share"] for attack in attacks)),
                "useful_a_day": rounded(useful),
                "throughput": rounded(useful / base) if base and useful is not None else None,
                "honest_acted_on": sum(trial["honest"]["acted_on"] for trial in mine),
            }
        )
    return rows


def _useful(trials: Sequence[Json]) -> float | None:
    values = [attack["useful_a_day"] for trial in trials for attack in trial["attacks"]]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
