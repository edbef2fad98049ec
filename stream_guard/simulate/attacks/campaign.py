"""Description of a campaign and the accounts that it registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.simulate.clients import CLI_RELAY, PYTHON_SDK, SDK_RELAY, VERSIONS, fingerprint
from stream_guard.simulate.grammar import mix
from stream_guard.simulate.model import DAY, HOUR, MINUTE, Account, Ints, Rng

if TYPE_CHECKING:
    from stream_guard.simulate.pool import Relay
    from stream_guard.simulate.world import World

Shares = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Campaign:
    """Parameters of a campaign; where they come from stands beside the values in ``table``.

    ``accounts`` and ``cards`` are numbers at scale one (``cards`` 0: a card for each account). ``client`` is
    ``relay`` (one open-source relay in front of all accounts), ``cli`` (a relay which imitates the user agent of the
    product but not its TLS), ``sdk`` (a popular SDK as is) or ``varied`` (honest software at random).
    ``own_organisations`` declares an organisation for each account.
    """

    label: str
    accounts: int
    rate_per_day: float
    published_days: float
    relay: Relay
    families: Shares
    capabilities: Shares
    models: Shares = (("atlas-large", 0.75), ("atlas-reason", 0.25))
    languages: Shares = (("en", 1.0),)
    exits: tuple[tuple[str, str, float], ...] = (("US", "residential", 0.5), ("US", "datacenter", 0.5))
    accounts_per_exit: float = 4.0
    rotate_exits: bool = True
    cards: int = 100
    mails: Shares = (("freemail", 0.55), ("disposable", 0.45))
    plans: tuple[tuple[str, int, float], ...] = (("pro", 400, 0.8), ("trial", 60, 0.2))
    sign_up_window_days: float = 21.0
    accounts_per_burst: float = 120.0
    client: str = "relay"
    system_prompt: bool = False
    tokens_in: tuple[float, float] = (6.4, 0.4)
    tokens_out: tuple[float, float] = (6.9, 0.5)
    refusals: float = 0.01
    flags: tuple[tuple[str, float], ...] = ()
    wordings: int = 1
    floor: int = 24
    credit_program: str | None = None
    own_organisations: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """Accounts of a campaign with their software, and the exits they share."""

    account: Ints
    client: Ints
    exits: Ints

    def __len__(self) -> int:
        return len(self.account)


def relay_client(world: World, campaign: Campaign) -> int:
    """Choose the relay software of a campaign: one header set for all of its accounts.

    Args:
        world: its seed.
        campaign: whose relay.

    Returns:
        Index of the client.
    """
    stack = CLI_RELAY if campaign.client == "cli" else SDK_RELAY
    return stack * VERSIONS + 2 + mix(world.options.seed + sum(campaign.label.encode())) % (VERSIONS - 2)


def _clients(world: World, rng: Rng, campaign: Campaign, count: int) -> Ints:
    if campaign.client == "sdk":
        return np.full(count, PYTHON_SDK * VERSIONS + VERSIONS - 1, dtype=np.int64)
    if campaign.client == "varied":
        drawn: Ints = (rng.integers(0, 3, size=count) * VERSIONS + rng.integers(2, VERSIONS, size=count)).astype(
            np.int64
        )
        return drawn
    return np.full(count, relay_client(world, campaign), dtype=np.int64)


def add_exits(world: World, rng: Rng, campaign: Campaign, count: int) -> Ints:
    """Add the proxy exits of a campaign.

    Args:
        world: tables to add to.
        rng: where choices come from.
        campaign: whose exits.
        count: number of accounts behind them.

    Returns:
        Indices of addresses.
    """
    total = max(2, round(count / campaign.accounts_per_exit))
    shares = np.array([share for _, _, share in campaign.exits])
    numbers = rng.multinomial(total, shares / shares.sum())
    found = [
        world.network.add(rng, country, asn_class, int(number))
        for (country, asn_class, _), number in zip(campaign.exits, numbers, strict=True)
    ]
    return rng.permutation(np.concatenate(found))


def burst_times(rng: Rng, campaign: Campaign, start: int, count: int) -> Ints:
    """Draw sign-up times in bursts, all before the start.

    Args:
        rng: where choices come from.
        campaign: its burst size and window.
        start: when the accounts begin to work.
        count: how many.

    Returns:
        Epoch milliseconds in order of registration.
    """
    bursts = max(1, round(count / campaign.accounts_per_burst))
    window = int(campaign.sign_up_window_days * DAY)
    begins = start - HOUR * 3 - np.sort(rng.integers(0, max(window, HOUR), size=bursts))[::-1]
    burst = np.sort(rng.integers(0, bursts, size=count))
    drawn: Ints = (begins[burst] + rng.integers(0, 150 * MINUTE, size=count)).astype(np.int64)
    return drawn


def enlist(world: World, rng: Rng, campaign: Campaign, created: Ints, client: int | None = None) -> Members:
    """Register the accounts of a campaign.

    Args:
        world: tables to add to.
        rng: where choices come from.
        campaign: what they are like.
        created: sign-up time of each.
        client: software for all of them, when it is known already.

    Returns:
        The members.
    """
    count = len(created)
    cards = max(2, round(campaign.cards * count / campaign.accounts)) if campaign.cards else count
    card = np.arange(count) if not campaign.cards else rng.integers(0, cards, size=count)
    card_ids = [fingerprint("pay_", int(number)) for number in rng.integers(1 << 62, size=cards)]
    mails = rng.choice([name for name, _ in campaign.mails], size=count, p=[share for _, share in campaign.mails])
    plan = rng.choice(len(campaign.plans), size=count, p=[share for *_, share in campaign.plans])
    accounts = [
        Account(
            account_id=world.account_id(rng),
            created_at=int(created[i]),
            plan=campaign.plans[int(plan[i])][0],
            quota_per_day=campaign.plans[int(plan[i])][1],
            email_class=str(mails[i]),
            access_path="api",
            payment_fp=card_ids[int(card[i])],
            org_id=fingerprint("org_", int(rng.integers(1 << 62))) if campaign.own_organisations else None,
            credit_program=campaign.credit_program,
            api_key_id=fingerprint("key_", int(rng.integers(1 << 62))),
        )
        for i in range(count)
    ]
    software = _clients(world, rng, campaign, count) if client is None else np.full(count, client, dtype=np.int64)
    return Members(world.add_accounts(accounts), software, add_exits(world, rng, campaign, count))
