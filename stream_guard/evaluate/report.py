"""Scores of many trials as one JSON object for programs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from stream_guard import __version__
from stream_guard.evaluate.ablation import compare
from stream_guard.evaluate.families import families
from stream_guard.evaluate.intervals import CONFIDENCE
from stream_guard.evaluate.ladder import ladder
from stream_guard.evaluate.summary import summary
from stream_guard.evaluate.targets import judge_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.records import Json

SCHEMA: Final = "stream_guard.evaluation.v1"
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
    "product acted on in the same trial; an account leaks until it is flagged itself. one_in_a_thousand: the same "
    "where one honest account in a thousand may be flagged",
    "intervals": "over seeds, whose values are independent; a seed's value is the mean over its attacks. Medians: the "
    "distribution-free interval between order statistics (Thompson 1936), the whole range where seeds are too few, "
    "with the confidence that it has. Rates (seeds in which every attack was found; honest accounts acted on, of those "
    f"of all seeds): Clopper-Pearson (1934), {CONFIDENCE:.0%}. Accounts of one group are not independent, so where any "
    "were acted on that interval is too narrow",
    "second_pool_leaked_share": "exchanges of the pool that takes over, before a campaign that alerted holds half of "
    "its accounts that have spoken, as a share of all exchanges of the attack",
    "campaign_alerts": "alerts about groups that are of verdict extraction_campaign, or above info",
    "reliability": "ten bins of confidence: count, sum of predicted, sum of observed. campaigns: every campaign, "
    "candidate and alert about an account at its last word, against whether most of its members are hostile; members: "
    "of campaigns that stand and alerted, membership against whether the account is hostile. Calibration error: mean "
    "distance of the two over bins, weighted by count",
    "ladder": "useful exchanges are those of the extraction that were answered; throughput is their number a day as a "
    "share of the base's. Prices of cards, addresses and paraphrases are not counted",
    "ablation": "the same trial again with a signal or theme that contributes nothing; its statistic is still seen by "
    "the forest behind rarity and by the test for resale. A change of a mean by less than 0.01 is passed over",
    "timelines": "by attack, in hours since it began; lines are thinned",
    "targets": "judged by the worst seed; leak and second pool as shares of the exchanges in the file, which is "
    "shorter than the published window",
}


def evaluation(trials: Sequence[Json], options: Json, policy_sha256: str, reduced: Sequence[Json] = ()) -> Json:
    """Everything that was found; equal arguments and policy give equal objects.

    Args:
        trials: scores of trials with every signal.
        options: of the command.
        policy_sha256: names the policy.
        reduced: scores of the same trials without one signal each.
    """
    by_scenario: dict[str, list[Json]] = defaultdict(list)
    for trial in trials:
        by_scenario[trial["scenario"]].append(trial)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "policy_sha256": policy_sha256,
        "options": options,
        "method": METHOD,
        "scenarios": {name: summary(some) for name, some in by_scenario.items()},
        "targets": judge_targets(trials),
        "ladder": ladder(trials),
        "ablation": compare(trials, reduced),
        "families": families(trials),
        "trials": list(trials),
    }
