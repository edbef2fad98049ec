"""Campaigns that change what they do: another model, another technique after scouting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.simulate.attacks.campaign import burst_times, enlist
from stream_guard.simulate.attacks.plain import cut, plain_block, plain_work, planned, recruit, warm_up_end
from stream_guard.simulate.attacks.table import S9, S10, S13, SCOUT
from stream_guard.simulate.attacks.traffic import campaign_block
from stream_guard.simulate.model import DAY, HOUR, MODELS, Block, Rng, concatenate

if TYPE_CHECKING:
    from stream_guard.simulate.world import World

NEW_MODEL = MODELS.index("atlas-next")


def release(world: World, at: int) -> None:
    """Announce the new model.

    Args:
        world: where to.
        at: when it becomes available.
    """
    world.notes.append({"type": "model_release", "ts": at, "model": MODELS[NEW_MODEL], "at": at})


def release_time(world: World) -> int:
    """Tell when the new model appears: a quarter of the hostile time after the warm-up.

    Args:
        world: time of the simulation.

    Returns:
        Epoch milliseconds.
    """
    begin = warm_up_end(world)
    return begin + (world.end - begin) // 4 // HOUR * HOUR


def adopt(rng: Rng, block: Block, at: int, share: float) -> Block:
    """Move a growing share of the traffic to the new model over the day after its release.

    Args:
        rng: where choices come from.
        block: events.
        at: time of the release.
        share: of the traffic, reached after 24 hours.

    Returns:
        The events with their new models.
    """
    progress = np.clip((block.ts - at) / DAY, 0.0, 1.0) ** 0.7
    # Whoever moves keeps to the new model: the draw depends on the account, not on the request.
    spot = ((block.account * 2654435761 + int(rng.integers(1 << 31))) % 1_000_003) / 1_000_003
    model = np.where((block.ts >= at) & (spot < share * progress), NEW_MODEL, block.model)
    return block.replace(model=model.astype(np.int64))


def add_new_model_pivot(world: World) -> None:
    """Add S9: half of the campaign, but 5 % of honest traffic, moves to the new model within a day.

    Args:
        world: where to; it already holds the background.
    """
    rng = world.rng(S9.label)
    at = release_time(world)
    release(world, at)
    world.blocks[:] = [adopt(rng, block, at, 0.05) for block in world.blocks]
    members = recruit(world, rng, S9)
    block = adopt(rng, plain_block(world, rng, S9, members), at, 0.5)
    world.add_campaign(S9.label, block, pivot_at=at, **planned(S9, len(members)))


def add_guardrail_pivot(world: World) -> None:
    """Add S10: refusals on a hardened model, then all work goes to a weaker one.

    Args:
        world: where to.
    """
    rng = world.rng(S10.label)
    members = recruit(world, rng, S10)
    block = plain_block(world, rng, S10, members)
    begin = warm_up_end(world)
    hardened = begin + (world.end - begin) // 3
    leaves = hardened + (world.end - hardened) // 5
    refused = (block.ts >= hardened) & (block.ts < leaves) & (rng.random(len(block)) < 0.7)
    weaker = block.ts >= leaves
    block = block.replace(
        flags=block.flags | refused.astype(np.int64),
        tokens_out=np.where(refused, np.minimum(block.tokens_out, 90), block.tokens_out),
        model=np.where(weaker, MODELS.index("atlas-mid"), block.model).astype(np.int64),
    )
    world.add_campaign(S10.label, block, hardened_at=hardened, pivot_at=leaves, **planned(S10, len(members)))


def add_scout(world: World) -> None:
    """Add S13: diverse attempts with many refusals, then the one technique that works, in bulk.

    Args:
        world: where to.
    """
    rng = world.rng(S13.label)
    begin = warm_up_end(world)
    bulk_at = begin + (world.end - begin) * 2 // 5
    count = world.scaled(S13.accounts, S13.floor)
    members = enlist(world, rng, S13, burst_times(rng, S13, begin, count))
    blocks = []
    # 12,000 attempts and 200,000 requests at scale one, over whatever time there is.
    for campaign, total, window in ((SCOUT, 12_000, (begin, bulk_at)), (S13, 200_000, (bulk_at, world.end))):
        rate = total / S13.accounts * DAY / (window[1] - window[0])
        work = cut(plain_work(world, rng, replace(campaign, rate_per_day=rate), count, window), window[1])
        blocks.append(campaign_block(world, rng, campaign, members, work))
    plan = planned(S13, count) | {"exchanges_planned": round(212_000 * count / S13.accounts)}
    world.add_campaign(S13.label, concatenate(blocks), bulk_starts=bulk_at, scout_exchanges=len(blocks[0]), **plan)
