"""The evasion ladder: one campaign, and the same campaign with one evasion after the other.

Each evasion is a change of the base campaign, as data. ``L0`` is the base, ``L1`` to ``L8`` each one evasion by itself,
``L1-2`` to ``L1-8`` the first two to all eight together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stream_guard.simulate.attacks.campaign import burst_times, enlist
from stream_guard.simulate.attacks.mixtures import resold_block, select, ticket
from stream_guard.simulate.attacks.plain import plain_work, planned, warm_up_end
from stream_guard.simulate.attacks.table import S3
from stream_guard.simulate.attacks.traffic import campaign_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stream_guard.simulate.attacks.campaign import Campaign
    from stream_guard.simulate.world import World

# The letter's campaign at a twenty-fifth of its size, with as many accounts a card as there, before any evasion:
# its accounts keep their exits, and five share one.
BASE: Final = replace(S3, label="ladder", accounts=1_000, cards=4, rotate_exits=False, published_days=30.0)


@dataclass(frozen=True, slots=True)
class Evasion:
    """What the attacker changes.

    ``changes`` are fields of the campaign, ``jitter`` is the spread of the relay's pauses and sessions, ``honest`` the
    share of sessions that ask what honest customers ask and ``pace`` what is left of the requests of an account.
    """

    name: str
    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    jitter: float | None = None
    honest: float = 0.0
    pace: float = 1.0


EVASIONS: Final = (
    Evasion(
        "addresses",
        "a residential address for each session, ten an account",
        {
            "accounts_per_exit": 0.1,
            "rotate_exits": True,
            "exits": (("US", "residential", 0.5), ("GB", "residential", 0.3), ("DE", "residential", 0.2)),
        },
    ),
    Evasion("cards", "a card of its own for each account", {"cards": 0}),
    Evasion("clients", "honest software at random: TLS, headers, user agent", {"client": "varied"}),
    Evasion(
        "sign-ups",
        "sign-ups over four months in twos, no throwaway mail",
        {"sign_up_window_days": 120.0, "accounts_per_burst": 2.0, "mails": (("freemail", 1.0),)},
    ),
    Evasion(
        "paraphrase",
        "a paraphrase for each request, lengths spread",
        {
            "families": (("paraphrase", 0.6), ("items", 0.4)),
            "wordings": 1,
            "tokens_in": (6.4, 0.8),
            "tokens_out": (6.4, 0.8),
        },
    ),
    Evasion("jitter", "pauses and sessions of very different length", jitter=0.9),
    Evasion("mixing", "every other session asks what honest customers ask", honest=0.5),
    Evasion("slower", "a quarter of the requests an account", pace=0.25),
)


def rungs() -> Iterator[tuple[str, str, tuple[Evasion, ...]]]:
    """List the ladder.

    Yields:
        Scenario id, title and the evasions, the base first, then each alone, then more and more of them together.
    """
    yield "L0", "ladder: the campaign without any evasion", ()
    for number, evasion in enumerate(EVASIONS, 1):
        yield f"L{number}", f"ladder, {evasion.name}: {evasion.title}", (evasion,)
    for number in range(2, len(EVASIONS) + 1):
        yield f"L1-{number}", f"ladder, up to {EVASIONS[number - 1].name}", EVASIONS[:number]


def evading(evasions: tuple[Evasion, ...], campaign: Campaign = BASE) -> Campaign:
    """Apply evasions to a campaign.

    Args:
        evasions: in their order; a later one wins.
        campaign: before them.

    Returns:
        The campaign; shares of honest sessions are not part of it.
    """
    for evasion in evasions:
        campaign = replace(campaign, **evasion.changes, rate_per_day=campaign.rate_per_day * evasion.pace)
        if evasion.jitter is not None:
            campaign = replace(campaign, relay=replace(campaign.relay, jitter=evasion.jitter))
    return campaign


def climb(evasions: tuple[Evasion, ...]) -> Callable[[World], None]:
    """Make the builder of one rung.

    Args:
        evasions: what the attacker changes.

    Returns:
        The builder.
    """
    campaign = evading(evasions)
    honest = max((evasion.honest for evasion in evasions), default=0.0)

    def build(world: World) -> None:
        rng = world.rng(campaign.label)
        begin = warm_up_end(world)
        count = world.scaled(campaign.accounts, campaign.floor)
        members = enlist(world, rng, campaign, burst_times(rng, campaign, begin, count))
        work = plain_work(world, rng, campaign, count, (begin, world.end))
        pool = np.unique(members.account[work.member])
        if honest:
            hostile = ticket(rng, work.session) >= honest
            world.blocks.append(resold_block(world, rng, campaign, members, select(work, ~hostile)))
            work = select(work, hostile)
        block = campaign_block(world, rng, campaign, members, work)
        plan = planned(campaign, count)
        plan["exchanges_planned"] = round(count * campaign.rate_per_day * campaign.published_days * (1.0 - honest))
        answered = int(np.count_nonzero(block.status == 200))
        names = [evasion.name for evasion in evasions]
        world.add_campaign(campaign.label, block, pool, answered=answered, evasions=names, **plan)

    return build
