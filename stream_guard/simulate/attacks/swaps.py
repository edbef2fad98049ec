"""Campaigns whose accounts change: rotation, a second pool after a ban, replacement one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.simulate.attacks.campaign import burst_times, enlist, relay_client
from stream_guard.simulate.attacks.plain import cut, fit_relay, planned, warm_up_end
from stream_guard.simulate.attacks.table import S5, S7, S8
from stream_guard.simulate.attacks.traffic import campaign_block
from stream_guard.simulate.model import DAY, HOUR, MINUTE, Ints, Rng
from stream_guard.simulate.pool import Shifts, Work, run_relay, session_starts

if TYPE_CHECKING:
    from stream_guard.simulate.attacks.campaign import Campaign
    from stream_guard.simulate.world import World


def note_bans(world: World, accounts: Ints, times: Ints) -> None:
    """Add the status records of banned accounts.

    Args:
        world: where to.
        accounts: indices of accounts.
        times: when each was banned.
    """
    for account, at in zip(accounts.tolist(), times.tolist(), strict=True):
        if at < world.end:
            world.notes.append(
                {
                    "type": "account_status",
                    "ts": at,
                    "account_id": world.accounts[account].account_id,
                    "status": "banned",
                }
            )


def _work(world: World, rng: Rng, campaign: Campaign, active: int, shifts: Shifts) -> Work:
    """Run a relay that keeps a constant load, whichever accounts are there."""
    begin = warm_up_end(world)
    relay = fit_relay(campaign, campaign.rate_per_day)
    requests = active * campaign.rate_per_day * (world.end - begin) / DAY
    return cut(run_relay(rng, relay, session_starts(rng, begin, world.end, requests, relay), shifts), world.end)


def add_rotation(world: World) -> None:
    """Add S5: each account lives ten days and is replaced at the end of its life by a new one.

    Args:
        world: where to.
    """
    campaign, life = S5, 10 * DAY
    rng = world.rng(campaign.label)
    begin = warm_up_end(world)
    active = world.scaled(campaign.accounts, campaign.floor)
    remaining = rng.integers(HOUR, life, size=active)  # the rotation has been under way for long
    begins, ends = [np.full(active, world.start, dtype=np.int64)], [begin + remaining]
    while bool((ends[-1] < world.end).any()):
        over = np.sort(ends[-1][ends[-1] < world.end])
        begins.append(over)
        ends.append(over + life)
    shifts = Shifts(np.concatenate(begins), np.concatenate(ends))
    created = burst_times(rng, campaign, begin, active)
    later = [one - rng.integers(HOUR, 6 * HOUR, size=len(one)) for one in begins[1:]]
    members = enlist(world, rng, campaign, np.concatenate([created, *later]), relay_client(world, campaign))
    block = campaign_block(world, rng, campaign, members, _work(world, rng, campaign, active, shifts))
    world.add_campaign(campaign.label, block, **planned(campaign, len(members)))


def add_swap(world: World) -> None:
    """Add S7: pool A is banned at one moment, pool B, idle so far, takes over within ten minutes.

    Args:
        world: where to.
    """
    campaign = S7
    rng = world.rng(campaign.label)
    begin = warm_up_end(world)
    size = world.scaled(campaign.accounts, campaign.floor)
    banned_at = begin + (world.end - begin) // 2
    late = banned_at + rng.integers(MINUTE, 10 * MINUTE, size=size)
    far = world.end + DAY
    shifts = Shifts(
        np.concatenate([np.full(size, world.start, dtype=np.int64), late]),
        np.concatenate([np.full(size, banned_at, dtype=np.int64), np.full(size, far, dtype=np.int64)]),
    )
    created = np.concatenate([burst_times(rng, campaign, begin, size), burst_times(rng, campaign, begin, size)])
    members = enlist(world, rng, campaign, created, relay_client(world, campaign))
    block = campaign_block(world, rng, campaign, members, _work(world, rng, campaign, size, shifts))
    note_bans(world, members.account[:size], np.full(size, banned_at, dtype=np.int64))
    pools = [[world.accounts[i].account_id for i in half.tolist()] for half in np.split(members.account, 2)]
    world.add_campaign(
        campaign.label, block, swap_at=banned_at, pool_a=pools[0], pool_b=pools[1], **planned(campaign, 2 * size)
    )


def add_trickle(world: World) -> None:
    """Add S8: accounts are banned one by one, and five minutes later a fresh one is there for each.

    Args:
        world: where to.
    """
    campaign = S8
    rng = world.rng(campaign.label)
    begin = warm_up_end(world)
    active = world.scaled(campaign.accounts, campaign.floor)
    mean_life = max(8 * HOUR, (world.end - begin) // 2)
    begins, ends = (
        [np.full(active, world.start, dtype=np.int64)],
        [begin + HOUR + rng.exponential(mean_life, size=active).astype(np.int64)],
    )
    while bool((ends[-1] < world.end).any()):
        over = ends[-1][ends[-1] < world.end] + 5 * MINUTE
        begins.append(over)
        ends.append(over + HOUR + rng.exponential(mean_life, size=len(over)).astype(np.int64))
    shifts = Shifts(np.concatenate(begins), np.concatenate(ends))
    created = burst_times(rng, campaign, begin, active)
    later = [one - rng.integers(MINUTE, 5 * MINUTE, size=len(one)) for one in begins[1:]]
    members = enlist(world, rng, campaign, np.concatenate([created, *later]), relay_client(world, campaign))
    block = campaign_block(world, rng, campaign, members, _work(world, rng, campaign, active, shifts))
    note_bans(world, members.account, shifts.ends)
    bans = int((shifts.ends < world.end).sum())
    world.add_campaign(campaign.label, block, bans=bans, **planned(campaign, len(members)))
