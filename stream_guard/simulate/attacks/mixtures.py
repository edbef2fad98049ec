"""Campaigns in disguise: inside resold traffic, in a pool shared with others, through stolen keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.simulate.attacks.campaign import Members, burst_times, enlist
from stream_guard.simulate.attacks.plain import plain_work, planned, warm_up_end
from stream_guard.simulate.attacks.table import S11, S12_FIRST, S12_SECOND, S15
from stream_guard.simulate.attacks.traffic import campaign_block
from stream_guard.simulate.pool import Work
from stream_guard.simulate.prompts import AGENT, CHAT, CODE, FOLLOW_UP, MATHS, SHORT, PromptBook

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.simulate.attacks.campaign import Campaign
    from stream_guard.simulate.model import Block, Bools, Floats, Ints, Rng
    from stream_guard.simulate.world import World

# What the customers of a reseller ask: capability, prompt kind, language; drawn once per customer session.
_CUSTOMERS: Final = np.array(
    [(0, CHAT, 0), (0, CHAT, 1), (1, CODE, 0), (1, CODE, 0), (2, AGENT, 0), (0, CHAT, 5), (3, MATHS, 0), (0, CHAT, 2),
     (0, SHORT, 0), (0, CHAT, 3), (1, CODE, 0), (0, CHAT, 10)], dtype=np.int64)  # fmt: skip


def select(work: Work, rows: Bools) -> Work:
    """Select requests.

    Args:
        work: requests.
        rows: which of them.

    Returns:
        Those.
    """
    return Work(work.ts[rows], work.member[rows], work.session[rows], work.status[rows], work.turn[rows])


def resold_block(world: World, rng: Rng, campaign: Campaign, members: Members, work: Work) -> Block:
    """Fill a relay's requests with what many unrelated honest customers ask.

    Args:
        world: tables that indices point into.
        rng: where choices come from.
        campaign: for the software and exits of the relay; its templates are not used.
        members: the accounts of the relay.
        work: when, and by which account.

    Returns:
        The events.
    """
    shell = campaign_block(world, rng, campaign, members, work)
    distinct, inverse = np.unique(work.session, return_inverse=True)
    customer = _CUSTOMERS[rng.integers(len(_CUSTOMERS), size=len(distinct))][inverse]
    later = (work.turn > 0) & (rng.random(len(work.ts)) < 0.5) & (customer[:, 1] == CHAT)
    kind = np.where(later, FOLLOW_UP, customer[:, 1])
    width = PromptBook.standard(0, 1)
    size = np.exp(rng.normal(6.8, 1.1, size=len(work.ts)))
    out = np.where(work.status == 200, np.exp(rng.normal(5.2, 0.9, size=len(work.ts))), 0)
    return shell.replace(
        capability=customer[:, 0],
        language=customer[:, 2],
        source=customer[:, 2] * width + kind,
        key=rng.integers(0, 1 << 62, size=len(work.ts)),
        tokens_in=size.astype(np.int64),
        tokens_out=out.astype(np.int64),
        model=rng.choice(4, size=len(distinct), p=[0.5, 0.3, 0.1, 0.1])[inverse].astype(np.int64),
        max_tokens=np.array([-1, 1024, 4096, 8192])[rng.integers(4, size=len(distinct))][inverse],
        tools=np.where(customer[:, 0] == 2, 4 + (inverse * 7) % 15, 0).astype(np.int64),
        flags=(rng.random(len(work.ts)) < 0.008).astype(np.int64),
    )


def _pool(world: World, campaign: Campaign) -> tuple[Rng, Members, Work]:
    rng = world.rng(campaign.label)
    begin = warm_up_end(world)
    count = world.scaled(campaign.accounts, campaign.floor)
    members = enlist(world, rng, campaign, burst_times(rng, campaign, begin, count))
    return rng, members, plain_work(world, rng, campaign, count, (begin, world.end))


def ticket(rng: Rng, session: Ints) -> Floats:
    """Draw one number for each session.

    Args:
        rng: where choices come from.
        session: of each request.

    Returns:
        In [0, 1), repeated for the requests of a session.
    """
    distinct, inverse = np.unique(session, return_inverse=True)
    return rng.random(len(distinct))[inverse]


def add_mixing(share: float) -> Callable[[World], None]:
    """Make the builder of S11: a share of the sessions of a reseller's pool is extraction.

    Args:
        share: between 0 and 1.

    Returns:
        The builder.
    """

    def build(world: World) -> None:
        rng, members, work = _pool(world, S11)
        hostile = ticket(rng, work.session) < share
        world.blocks.append(resold_block(world, rng, S11, members, select(work, ~hostile)))
        block = campaign_block(world, rng, S11, members, select(work, hostile))
        plan = planned(S11, len(members))
        plan["exchanges_planned"] = round(len(members) * S11.rate_per_day * S11.published_days * share)
        world.add_campaign(S11.label, block, members.account, share=share, pool_exchanges=len(work.ts), **plan)

    return build


def add_shared_pool(world: World) -> None:
    """Add S12: two labs with a third of the sessions each, honest customers with the rest, one pool.

    Args:
        world: where to.
    """
    rng, members, work = _pool(world, replace(S11, label="shared-pool"))
    drawn = ticket(rng, work.session)
    world.blocks.append(resold_block(world, rng, S11, members, select(work, drawn >= 2 / 3)))
    parts = ((S12_FIRST, drawn < 1 / 3), (S12_SECOND, (drawn >= 1 / 3) & (drawn < 2 / 3)))
    for campaign, rows in parts:
        block = campaign_block(world, rng, campaign, members, select(work, rows))
        world.add_campaign(campaign.label, block, members.account, share=1 / 3, shared_pool=True)


def add_stolen_keys(world: World) -> None:
    """Add S15: a tenth of the members are old honest accounts, active until their keys are stolen.

    Args:
        world: where to; it already holds the background.
    """
    rng = world.rng(S15.label)
    begin = warm_up_end(world)
    count = world.scaled(S15.accounts, S15.floor)
    known = (
        np.unique(np.concatenate([block.account for block in world.blocks]))
        if world.blocks
        else np.zeros(0, dtype=np.int64)
    )
    old = np.array([i for i in known.tolist() if world.accounts[i].api_key_id is not None], dtype=np.int64)
    stolen = rng.choice(old, size=min(len(old), count // 10), replace=False)
    members = enlist(world, rng, S15, burst_times(rng, S15, begin, count - len(stolen)))
    account = np.concatenate([members.account, stolen])
    client = np.concatenate([members.client, np.full(len(stolen), members.client[0], dtype=np.int64)])
    everyone = Members(account, client, members.exits)
    work = plain_work(world, rng, S15, len(everyone), (begin, world.end))
    block = campaign_block(world, rng, S15, everyone, work)
    names = sorted(world.accounts[i].account_id for i in stolen.tolist())
    world.add_campaign(S15.label, block, compromised=names, **planned(S15, count))
