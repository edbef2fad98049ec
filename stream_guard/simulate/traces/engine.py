"""One family, sharded over a pool of accounts, inside the real background."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click
import numpy as np

from stream_guard.simulate.attacks.campaign import Campaign
from stream_guard.simulate.attacks.plain import plain_work, recruit, warm_up_end
from stream_guard.simulate.attacks.traffic import campaign_block
from stream_guard.simulate.engine import finish
from stream_guard.simulate.model import DAY
from stream_guard.simulate.pool import Relay
from stream_guard.simulate.traces.background import Listed, add_real_background
from stream_guard.simulate.traces.families import FAMILIES, HONEST_TEXTS, SPLITS, prompts_of
from stream_guard.simulate.traces.read import read_traces
from stream_guard.simulate.world import Options, World

if TYPE_CHECKING:
    from pathlib import Path

    from stream_guard.simulate.model import Traffic

DAYS: Final = 2.5
_ATTACK_DAYS: Final = 1.0
_ACCOUNTS_PER_CARD: Final = 12  # the firehose of the September 2026 report, as the scenarios take it
_TOKENS_PER_CHARACTER: Final = 0.25


def simulate_traces(
    directory: Path, family_name: str, accounts: int, *, seed: int = 0, background_accounts: int = 21_000
) -> Traffic:
    """Simulate one family over a number of accounts; equal arguments and files give equal traffic.

    The whole list is asked once within a day, after a day and a half of honest traffic, through an open-source relay
    with shared cards and proxy exits.

    Args:
        directory: real traces, see ``read``.
        family_name: one of ``FAMILIES``; its split decides which clients make up the background.
        accounts: of the pool.
        seed: of all choices.
        background_accounts: honest accounts.

    Returns:
        Records sorted by time, and the truth.

    Raises:
        click.UsageError: an argument makes no sense, or a file is missing or not what it should be.
    """
    if family_name not in FAMILIES or accounts < 1:
        raise click.UsageError(f"no family {family_name!r} over {accounts} accounts; known are: {', '.join(FAMILIES)}")
    family = FAMILIES[family_name]
    traces = read_traces(directory, SPLITS.index(family.split))
    world = World(Options(1.0, seed, DAYS, background_accounts, 1.0))
    questions = [text for name in HONEST_TEXTS[family.split] for text in traces.texts[name]]
    add_real_background(world, traces, questions)
    prompts = prompts_of(family, traces)
    rng = world.rng(family.name)
    campaign = _campaign(family.capability, f"{family.name}-{accounts}", accounts, len(prompts))
    members = recruit(world, rng, campaign)
    begin = warm_up_end(world) + int(0.5 * DAY)
    work = plain_work(world, rng, campaign, len(members), (begin, min(world.end, begin + int(_ATTACK_DAYS * DAY))))
    block = campaign_block(world, rng, campaign, members, work)
    order = np.argsort(block.ts, kind="stable")
    key = np.empty(len(block), dtype=np.int64)
    key[order] = np.arange(len(block))
    length = np.array([len(prompt) for prompt in prompts])[key % len(prompts)]
    block = block.replace(
        source=np.full(len(block), world.book.add(Listed(prompts)), dtype=np.int64),
        key=key,
        tokens_in=np.maximum(1, (length * _TOKENS_PER_CHARACTER).astype(np.int64)),
    )
    world.add_campaign(campaign.label, block, family=family.name, split=family.split, prompts=len(prompts))
    return finish(world, campaign.label, f"{family.name} over {accounts} accounts, {family.split} split")


def _campaign(capability: str, label: str, accounts: int, prompts: int) -> Campaign:
    base = Campaign(
        label,
        accounts,
        prompts / accounts / _ATTACK_DAYS,
        _ATTACK_DAYS,
        Relay(per_session=4.0, gap_seconds=20.0),
        families=(("items", 1.0),),
        capabilities=((capability, 1.0),),
        cards=max(2, accounts // _ACCOUNTS_PER_CARD),
    )
    return replace(base, floor=accounts)
