"""Registry of scenarios: id, what it shows, default length, and what it adds to the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.simulate import benign
from stream_guard.simulate.attacks import ladder, mixtures, pivots, swaps, table
from stream_guard.simulate.attacks.plain import add_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.simulate.attacks.campaign import Campaign
    from stream_guard.simulate.world import World


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the tables of scenarios.

    ``days`` is the default length including the warm-up; it keeps the default run tractable where the published
    window is weeks. ``sdk_share`` changes
    the background itself.
    """

    scenario_id: str
    title: str
    days: float
    source: str
    build: Callable[[World], None]
    sdk_share: float = 0.0


def _plain(campaign: Campaign) -> Callable[[World], None]:
    def build(world: World) -> None:
        add_plain(world, campaign)

    return build


def _nothing(_world: World) -> None:
    """Add nothing."""


def _demo(world: World) -> None:
    benign.staff_behind_nat(world, 0.07)
    benign.support_product(world, 0.3)
    benign.reseller(world, 0.2)
    add_plain(world, table.DEMO)


_LETTER = "letter of June 2026"
_SEPTEMBER = "report of September 2026"
_FEBRUARY = "report of February 2026"
_OURS = "assumption of this project"

_LIST: Final = (
    Scenario("quiet", "honest background only", 3, _OURS, _nothing),
    Scenario("demo", "small honest groups and one thin campaign", 2, _OURS, _demo),
    Scenario("S1", "single greedy account: 2,000 requests an hour", 2, _OURS, _plain(table.S1)),
    Scenario("S2", "thin hydra: 5,380 accounts at 5.6 a day", 4, _SEPTEMBER, _plain(table.S2)),
    Scenario("S3", "letter hydra: 25,000 accounts at 25.6 a day, ~100 cards", 3, _LETTER, _plain(table.S3)),
    Scenario(
        "S3-orgs",
        "letter hydra, each account an organisation with corporate mail and a card of its own",
        3,
        _OURS,
        _plain(table.S3_ORGS),
    ),
    Scenario("S3-aged", "letter hydra, accounts up to two years old, six to a card", 3, _OURS, _plain(table.S3_AGED)),
    Scenario("S4", "fixed-prompt firehose: 3,500 accounts at 857 a day", 1.25, _SEPTEMBER, _plain(table.S4)),
    Scenario("S5", "small fast rotation: 273 accounts at 730 to 1,400 a day", 3, _SEPTEMBER, swaps.add_rotation),
    Scenario("S6", "template with variations: 300 accounts, 30,000 paraphrases", 3, _FEBRUARY, _plain(table.S6)),
    Scenario("S7", "pool swap: pool A banned, idle pool B takes over", 1.25, _SEPTEMBER, swaps.add_swap),
    Scenario("S8", "trickle replacement: every ban answered in 5 min", 3, _FEBRUARY, swaps.add_trickle),
    Scenario("S9", "new-model pivot: half of the campaign moves in 24 h", 3, _FEBRUARY, pivots.add_new_model_pivot),
    Scenario("S10", "guardrail pivot: refusals, then a weaker model", 3, _SEPTEMBER, pivots.add_guardrail_pivot),
    Scenario("S11", "mixing: 25 % extraction inside resold traffic", 3, _SEPTEMBER, mixtures.add_mixing(0.25)),
    Scenario("S11-5", "mixing: 5 % extraction", 3, _SEPTEMBER, mixtures.add_mixing(0.05)),
    Scenario("S11-10", "mixing: 10 % extraction", 3, _SEPTEMBER, mixtures.add_mixing(0.10)),
    Scenario("S11-50", "mixing: 50 % extraction", 3, _SEPTEMBER, mixtures.add_mixing(0.50)),
    Scenario("S12", "shared pool: two labs and honest users in one pool", 3, _SEPTEMBER, mixtures.add_shared_pool),
    Scenario("S13", "scout, then exploit: 12,000 attempts, 200,000 of one", 3, _SEPTEMBER, pivots.add_scout),
    Scenario("S14", "thinking replay: 2 % foreign thinking signatures", 3, _SEPTEMBER, _plain(table.S14)),
    Scenario(
        "S14-apart",
        "thinking replay, each account with addresses, card, client and sign-up of its own",
        3,
        _OURS,
        _plain(ladder.evading(ladder.EVASIONS[:4], table.S14)),
    ),
    Scenario(
        "S15", "stolen keys: 10 % of the members are old honest accounts", 3, _SEPTEMBER, mixtures.add_stolen_keys
    ),
    Scenario("S16", "evasive: jitter, own address and card, a paraphrase each", 4, _OURS, _plain(table.S16)),
    Scenario("B1", "3,000 staff behind one NAT", 3, _OURS, benign.staff_behind_nat),
    Scenario("B2", "a course: 400 new .edu accounts, the same exercises", 3, _OURS, benign.course),
    Scenario("B2-viral", "a tutorial goes viral: new accounts, one template", 3, _OURS, benign.viral_tutorial),
    Scenario("B2-app", "an app goes viral whose users bring their own keys", 3, _OURS, benign.viral_app),
    Scenario("B2-hosted", "such an app with servers of its own", 3, _OURS, benign.hosted_app),
    Scenario("B3", "a hackathon weekend", 7, _OURS, benign.hackathon),
    Scenario("B4", "evaluation harness: one template over 20 service accounts", 3, _OURS, benign.harness),
    Scenario("B5", "customer-support product: one system prompt", 3, _OURS, benign.support_product),
    Scenario("B5-plugin", "a plug-in of 200 businesses that bring their own keys", 3, _OURS, benign.plugin),
    Scenario("B6", "an honest reseller with many unrelated customers", 3, _OURS, benign.reseller),
    Scenario("B6-new", "an honest reseller who has just begun", 3, _OURS, benign.new_reseller),
    Scenario("B7", "launch day: everyone tries the new model", 3, _OURS, benign.launch_day),
    Scenario("B8", "cron batches at the full hour", 3, _OURS, benign.cron),
    Scenario("B9", "a mobile carrier's shared addresses", 3, _OURS, benign.carrier),
    Scenario(
        "B10", "a popular SDK: one TLS fingerprint for 40 % of traffic", 3, _OURS, benign.popular_sdk, sdk_share=0.4
    ),
)
_LADDER: Final = tuple(
    Scenario(name, title, 3, _OURS, ladder.climb(evasions)) for name, title, evasions in ladder.rungs()
)
LADDER: Final = tuple(scenario.scenario_id for scenario in _LADDER)
# Beside the table of attacks and honest groups: variants that show what one thing is for.
APART: Final = (
    "demo",
    "S3-orgs",
    "S3-aged",
    "S14-apart",
    "B2-viral",
    "B2-app",
    "B2-hosted",
    "B5-plugin",
    "B6-new",
)
SCENARIOS: Final = {scenario.scenario_id: scenario for scenario in (*_LIST, *_LADDER)}
