"""Where outputs go besides Kafka: gateway keys, the campaign registry, notifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stream_guard.ports import Output


class OutputSink(Protocol):
    """Takes outputs at least once, in order, before the checkpoint that covers them."""

    async def publish(self, output: Output) -> None:
        """Make `output` known; the same output may come twice after a failure.

        Raises:
            StateUnavailableError: not now; the runner comes back and commits nothing until it worked.
            ServiceUnavailableError: likewise.
        """
        ...
