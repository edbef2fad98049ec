"""Campaigns that run as they are: one pool from the end of the warm-up to the end of the simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_guard.simulate.attacks.campaign import Campaign, Members, burst_times, enlist
from stream_guard.simulate.attacks.traffic import campaign_block
from stream_guard.simulate.model import DAY
from stream_guard.simulate.pool import Relay, Shifts, Work, run_relay, session_starts

if TYPE_CHECKING:
    from stream_guard.simulate.model import Block, Rng
    from stream_guard.simulate.world import World


def warm_up_end(world: World) -> int:
    """Tell when hostile traffic may begin: after a day of honest traffic, or half of a shorter simulation.

    Args:
        world: start and length of the simulation.

    Returns:
        Epoch milliseconds.
    """
    return world.start + int(min(1.0, world.options.days / 2) * DAY)


def fit_relay(campaign: Campaign, rate_per_day: float) -> Relay:
    """Shorten sticky sessions when an account has fewer requests a day than a session would hold.

    Args:
        campaign: its relay.
        rate_per_day: of an account.

    Returns:
        The relay.
    """
    return replace(campaign.relay, per_session=max(1.0, min(campaign.relay.per_session, rate_per_day / 2)))


def always(count: int, world: World) -> Shifts:
    """Give shifts of accounts that are there all the time.

    Args:
        count: number of accounts.
        world: length of the simulation.

    Returns:
        The shifts.
    """
    return Shifts(np.full(count, world.start, dtype=np.int64), np.full(count, world.end + DAY, dtype=np.int64))


def planned(campaign: Campaign, accounts: int) -> dict[str, Any]:
    """Tell what the campaign would amount to over its published window.

    Args:
        campaign: rate and window.
        accounts: number after scaling.

    Returns:
        Optional fields of the truth.
    """
    return {
        "accounts_planned": accounts,
        "published_days": campaign.published_days,
        "rate_per_account_per_day": campaign.rate_per_day,
        "exchanges_planned": round(accounts * campaign.rate_per_day * campaign.published_days),
    }


def cut(work: Work, end: int) -> Work:
    """Drop what lies beyond the end.

    Args:
        work: requests.
        end: first millisecond that does not count.

    Returns:
        The requests before it.
    """
    keep = work.ts < end
    return Work(work.ts[keep], work.member[keep], work.session[keep], work.status[keep], work.turn[keep])


def plain_work(world: World, rng: Rng, campaign: Campaign, count: int, window: tuple[int, int]) -> Work:
    """Run a pool whose accounts are all there for the whole window.

    Args:
        world: length of the simulation.
        rng: where choices come from.
        campaign: rate and relay.
        count: number of accounts.
        window: first millisecond and the one after the last.

    Returns:
        The requests.
    """
    begin, end = window
    relay = fit_relay(campaign, campaign.rate_per_day)
    requests = count * campaign.rate_per_day * (end - begin) / DAY
    starts = session_starts(rng, begin, end, requests, relay)
    return cut(run_relay(rng, relay, starts, always(count, world)), end)


def recruit(world: World, rng: Rng, campaign: Campaign) -> Members:
    """Register the scaled number of accounts in bursts before the campaign.

    Args:
        world: scale and tables.
        rng: where choices come from.
        campaign: what its accounts are like.

    Returns:
        The members.
    """
    count = world.scaled(campaign.accounts, campaign.floor)
    return enlist(world, rng, campaign, burst_times(rng, campaign, warm_up_end(world), count))


def plain_block(world: World, rng: Rng, campaign: Campaign, members: Members) -> Block:
    """Run members from the end of the warm-up to the end.

    Args:
        world: tables and time.
        rng: where choices come from.
        campaign: what it sends.
        members: who sends.

    Returns:
        The events.
    """
    work = plain_work(world, rng, campaign, len(members), (warm_up_end(world), world.end))
    return campaign_block(world, rng, campaign, members, work)


def add_plain(world: World, campaign: Campaign) -> None:
    """Add a campaign to a world.

    Args:
        world: where to.
        campaign: the campaign.
    """
    rng = world.rng(campaign.label)
    members = recruit(world, rng, campaign)
    world.add_campaign(campaign.label, plain_block(world, rng, campaign, members), **planned(campaign, len(members)))
