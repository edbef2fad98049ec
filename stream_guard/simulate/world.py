"""The stage of a simulation: tables of accounts and addresses, collected events, what is true."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_guard.simulate.clients import Client, fingerprint, standard_clients
from stream_guard.simulate.model import DAY, EPOCH, Account, Block, Ints, Record, Rng
from stream_guard.simulate.network import Network
from stream_guard.simulate.prompts import PromptBook

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of a simulation chose."""

    scale: float
    seed: int
    days: float
    background_accounts: int
    background_scale: float


class World:
    """Everything that parts of a scenario add to."""

    __slots__ = (
        "accounts",
        "benign",
        "blocks",
        "book",
        "campaigns",
        "clients",
        "network",
        "notes",
        "options",
        "systems",
    )

    def __init__(self, options: Options) -> None:
        self.options = options
        self.accounts: list[Account] = []
        self.network = Network(options.seed)
        self.clients: list[Client] = standard_clients()
        self.book = PromptBook()
        self.systems: list[str] = []
        self.blocks: list[Block] = []
        self.notes: list[Record] = []
        self.campaigns: list[dict[str, Any]] = []
        self.benign: list[dict[str, Any]] = []

    @property
    def start(self) -> int:
        """First millisecond of the simulation."""
        return EPOCH

    @property
    def end(self) -> int:
        """First millisecond after the simulation."""
        return EPOCH + int(self.options.days * DAY)

    def rng(self, name: str) -> Rng:
        """Give a generator of its own to each part, so that parts do not shift each other's draws.

        Args:
            name: of the part.

        Returns:
            A seeded generator.
        """
        return np.random.default_rng([self.options.seed, zlib.crc32(name.encode())])

    def scaled(self, count: int, floor: int) -> int:
        """Scale a number of accounts.

        Args:
            count: number at scale one.
            floor: the least that still makes sense.

        Returns:
            The scaled number, at least the floor and at most the count when the floor exceeds it.
        """
        return max(min(floor, count), round(count * self.options.scale))

    def account_id(self, rng: Rng) -> str:
        """Draw an account id; honest and hostile accounts share one namespace.

        Args:
            rng: where it comes from.

        Returns:
            An opaque id.
        """
        return fingerprint("acct_", int(rng.integers(1 << 62)))

    def add_accounts(self, accounts: Sequence[Account]) -> Ints:
        """Register accounts.

        Args:
            accounts: new accounts.

        Returns:
            Their indices.
        """
        first = len(self.accounts)
        self.accounts.extend(accounts)
        return np.arange(first, len(self.accounts), dtype=np.int64)

    def add_system_prompt(self, *numbers: int) -> int:
        """Register a system prompt.

        Args:
            *numbers: what its hash derives from.

        Returns:
            Its index.
        """
        self.systems.append(fingerprint("sys_", 77, *numbers))
        return len(self.systems) - 1

    def add_client(self, client: Client) -> int:
        """Register client software.

        Args:
            client: the software.

        Returns:
            Its index.
        """
        self.clients.append(client)
        return len(self.clients) - 1

    def add_benign(self, label: str, accounts: Ints) -> None:
        """Note an honest group.

        Args:
            label: its name.
            accounts: indices of its accounts.
        """
        names = sorted({self.accounts[i].account_id for i in accounts.tolist()})
        self.benign.append({"label": label, "accounts": names})

    def add_campaign(self, label: str, block: Block, pool: Ints | None = None, **extra: Any) -> None:  # noqa: ANN401  # free-form optional fields
        """Add the events of a campaign and note the truth about it.

        Args:
            label: its name.
            block: the events that belong to the extraction, nothing else.
            pool: indices of its accounts, where chance decides which of them already served the extraction; None for
                those of the events.
            **extra: optional fields of the truth.
        """
        self.blocks.append(block)
        times = np.sort(block.ts)
        numbers = np.unique(block.account if pool is None else pool)
        names = sorted({self.accounts[i].account_id for i in numbers.tolist()})
        steps = np.unique(np.linspace(0, len(times) - 1, num=min(len(times), 400)).astype(np.int64))
        self.campaigns.append(
            {
                "label": label,
                "accounts": names,
                "starts": int(times[0]) if len(times) else self.start,
                "ends": int(times[-1]) if len(times) else self.start,
                "exchanges": len(times),
                "output_tokens": int(block.tokens_out.sum()),
                "progress": [[int(times[i]), int(i) + 1] for i in steps.tolist()],
                **extra,
            }
        )
