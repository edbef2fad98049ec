"""Checkpoints in memory: for unit tests, and for seeing what a store must do without Redis around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stream_guard.errors import FencedError, StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.ports import Checkpoint, Topic


@dataclass(slots=True)
class _Stored:
    token: int = 0
    meta: bytes | None = None
    positions: dict[Topic, int] = field(default_factory=dict)
    states: dict[bytes, bytes] = field(default_factory=dict)


class MemoryStateStore:
    """`ports.StateStore` in a dictionary; `away` makes every call fail as if Redis were gone.

    Args:
        other: another owner's store, to share its contents.
    """

    def __init__(self, other: MemoryStateStore | None = None) -> None:
        self.away = False
        self._nodes: dict[str, _Stored] = other._nodes if other is not None else {}  # noqa: SLF001 # of the same class
        self._tokens: dict[str, int] = {}

    def _node(self, node: str) -> _Stored:
        if self.away:
            raise StateUnavailableError("the memory store plays dead")
        return self._nodes.setdefault(node, _Stored())

    def _owned(self, node: str) -> _Stored:
        stored = self._node(node)
        if self._tokens.get(node, stored.token) != stored.token:
            raise FencedError(f"{node}: another owner has read and may have written")
        return stored

    async def acquire(self, node: str) -> int:
        """Become the owner."""
        stored = self._node(node)
        stored.token += 1
        self._tokens[node] = stored.token
        return stored.token

    async def read_meta(self, node: str) -> tuple[bytes | None, Mapping[Topic, int]]:
        """Meta and positions of the last checkpoint."""
        stored = self._owned(node)
        return stored.meta, dict(stored.positions)

    async def read(self, node: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """States of some keys."""
        stored = self._owned(node)
        return {key: stored.states.get(key) for key in keys}

    async def read_all(self, node: str) -> Mapping[bytes, bytes]:
        """Every state."""
        return dict(self._owned(node).states)

    async def write(self, node: str, token: int, checkpoint: Checkpoint) -> None:
        """Write everything or nothing."""
        stored = self._node(node)
        if token != stored.token:
            raise FencedError(f"{node}: token {token} is no longer the newest")
        for key, value in checkpoint.states.items():
            if value is None:
                stored.states.pop(key, None)
            else:
                stored.states[key] = value
        stored.meta = checkpoint.meta
        stored.positions.update(checkpoint.positions)

    async def exchange(self, mine: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """A board of one worker."""
        return mine
