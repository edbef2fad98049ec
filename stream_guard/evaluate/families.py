"""The table of real question lists: one row for each family and size of pool, never pooled over families."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Final

from stream_guard.evaluate.scoring import rounded
from stream_guard.evaluate.targets import MET, MISSED
from stream_guard.simulate.traces import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.records import Json

_MOST_LEAKED_TEMPLATE: Final = 0.02
_MOST_LEAKED_BARE: Final = 0.1
COLUMNS: Final = (
    "family", "accounts", "prompts", "found", "leaked (worst)", "recall at the end", "honest acted on",
    "false alerts a day", "wanted leak", "status",
)  # fmt: skip


def families(trials: Sequence[Json]) -> list[Json]:
    """Sum up trials of real question lists.

    Args:
        trials: scores; those of scenarios are left out.

    Returns:
        One object for each family and number of accounts, in the order of the trials. A false alert is one about no
        attack, of severity above info or verdict extraction_campaign; its rate is over all days of the seeds.
    """
    groups: dict[tuple[str, int], list[Json]] = defaultdict(list)
    for trial in trials:
        if "family" in trial:
            groups[trial["family"], trial["accounts_sharded"]].append(trial)
    return [_row(family, accounts, some) for (family, accounts), some in groups.items()]


def _row(family: str, accounts: int, trials: Sequence[Json]) -> Json:
    attacks = [attack for trial in trials for attack in trial["attacks"]]
    leaks = [attack["leaked_share"] for attack in attacks]
    recalls = [(attack["at_end"] or {}).get("recall") or 0.0 for attack in attacks]
    false = sum(
        trial["honest"]["alerts_by_severity"]["warning"] + trial["honest"]["alerts_by_severity"]["critical"]
        for trial in trials
    )
    wanted = _MOST_LEAKED_BARE if FAMILIES[family].bare else _MOST_LEAKED_TEMPLATE
    met = max(leaks) <= wanted and all(attack["detected"] for attack in attacks)
    return {
        "family": family,
        "accounts": accounts,
        "prompts": round(median(attack["exchanges"] for attack in attacks)),
        "trials": len(trials),
        "detected": sum(attack["detected"] for attack in attacks),
        "median_leaked_share": rounded(median(leaks)),
        "worst_leaked_share": rounded(max(leaks)),
        "median_recall": rounded(median(recalls)),
        "honest_acted_on": sum(trial["honest"]["acted_on"] for trial in trials),
        "false_alerts_per_day": rounded(false / sum(trial["days"] for trial in trials)),
        "wanted_leaked_share": wanted,
        "status": MET if met else MISSED,
    }


def family_rows(rows: Sequence[Json]) -> list[tuple[str, ...]]:
    """The same for people."""
    return [
        (
            row["family"],
            str(row["accounts"]),
            str(row["prompts"]),
            f"{row['detected']} of {row['trials']}",
            f"{100 * row['median_leaked_share']:.2f} % ({100 * row['worst_leaked_share']:.2f} %)",
            f"{row['median_recall']:.2f}",
            str(row["honest_acted_on"]),
            f"{row['false_alerts_per_day']:.2f}",
            f"{100 * row['wanted_leaked_share']:.0f} %",
            row["status"],
        )
        for row in rows
    ]
