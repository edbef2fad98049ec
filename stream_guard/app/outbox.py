"""Messages on their way to Kafka: sent without waiting, acknowledged before a checkpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stream_guard.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream_guard.ports import Message

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.2


class Sender(Protocol):
    """Hands one message to Kafka; the future is done when every in-sync replica has it."""

    async def send(self, message: Message) -> asyncio.Future[object]:
        """Queue a message.

        Raises:
            ServiceUnavailableError: it was not even queued.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Sent:
    message: Message
    acknowledgement: asyncio.Future[object]


class Outbox:
    """What one partition has sent since its last checkpoint."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._sent: list[_Sent] = []

    def __len__(self) -> int:
        return len(self._sent)

    async def send(self, messages: Iterable[Message]) -> None:
        """Queue messages in order."""
        for message in messages:
            self._sent.append(_Sent(message, await self._sender.send(message)))

    async def acknowledged(self) -> None:
        """Wait until everything sent is durable; sends again what failed.

        Raises:
            ServiceUnavailableError: some message failed `ATTEMPTS` times; the process must end without a checkpoint.
        """
        waiting, wait_seconds = self._sent, FIRST_WAIT_SECONDS
        for attempt in range(ATTEMPTS):
            results = await asyncio.gather(*(sent.acknowledgement for sent in waiting), return_exceptions=True)
            failed = [
                (sent.message, result)
                for sent, result in zip(waiting, results, strict=True)
                if isinstance(result, BaseException)
            ]
            if not failed:
                self._sent = []
                return
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(wait_seconds)
                wait_seconds *= 2
                waiting = [_Sent(message, await self._sender.send(message)) for message, _ in failed]
        message, error = failed[0]
        raise ServiceUnavailableError(f"{len(failed)} messages to {message.topic} were refused: {error!r}")
