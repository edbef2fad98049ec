"""Sends through Faust's producer."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from faust.exceptions import FaustError

from stream_guard.errors import ServiceUnavailableError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import faust

    from stream_guard.ports import Message, Topic


class FaustSender:
    """`app.outbox.Sender` on Faust's producer, which waits for every in-sync replica."""

    def __init__(self, app: faust.App, topic_name: Callable[[Topic], str]) -> None:
        self._app, self._topic_name = app, topic_name

    async def send(self, message: Message) -> asyncio.Future[object]:
        """Queue one message; the future fails when Kafka does not take it in time."""
        try:
            future = await self._app.producer.send(
                self._topic_name(message.topic), message.key, message.value, message.partition, None, None
            )
        except FaustError as error:
            raise ServiceUnavailableError(f"cannot send to {message.topic}: {error}") from error
        return cast("asyncio.Future[object]", future)
