"""What the parts of the simulator hand to each other: accounts, columns of events, truth."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Record = dict[str, Any]
Rng = np.random.Generator

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

# Every simulation starts at midnight UTC of a Monday, 7 September 2026.
EPOCH: Final = 1_788_739_200_000

MODELS: Final = ("atlas-large", "atlas-mid", "atlas-small", "atlas-reason", "atlas-next")
CAPABILITIES: Final = ("chat", "coding", "agentic", "reasoning", "tool_use", "vision")
FLAGS: Final = ("refusal", "cot_elicitation", "foreign_thinking_signature", "edited_context")


@dataclass(frozen=True, slots=True)
class Account:
    """What stays the same in every record of one account; optional fields may be None."""

    account_id: str
    created_at: int
    plan: str
    quota_per_day: int
    email_class: str
    access_path: str
    payment_fp: str | None = None
    org_id: str | None = None
    credit_program: str | None = None
    api_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Events as columns of equal length; indices point into the tables of the world."""

    ts: Ints
    account: Ints
    session: Ints
    address: Ints
    client: Ints
    model: Ints
    capability: Ints
    language: Ints
    source: Ints
    key: Ints
    tokens_in: Ints
    tokens_out: Ints
    max_tokens: Ints
    tools: Ints
    system: Ints
    status: Ints
    latency: Ints
    flags: Ints

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: Ints | Bools) -> Block:
        """Select rows.

        Args:
            rows: indices or a mask.

        Returns:
            A block with those rows.
        """
        return Block(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def replace(self, **columns: Ints) -> Block:
        """Swap columns.

        Args:
            **columns: new columns by name.

        Returns:
            A block with these columns in place of its own.
        """
        return Block(**{item.name: columns.get(item.name, getattr(self, item.name)) for item in fields(self)})


def concatenate(blocks: list[Block]) -> Block:
    """Join blocks, ordered by time; rows with equal times keep the order of the blocks.

    Args:
        blocks: at least one.

    Returns:
        One block.
    """
    order = np.argsort(np.concatenate([block.ts for block in blocks]), kind="stable")
    return Block(
        **{item.name: np.concatenate([getattr(block, item.name) for block in blocks])[order] for item in fields(Block)}
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """A finished simulation: records by time, and what is true about them."""

    scenario: str
    truth: dict[str, Any]
    events: int
    _records: Any = field(repr=False)

    @property
    def records(self) -> Iterator[Record]:
        """Records sorted by ``ts``; every access starts anew."""
        iterator: Iterator[Record] = self._records()
        return iterator
