"""The Faust agents: one per stage. They hand envelopes to the runners, which do the work and the acknowledging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_guard.app.lane import PassThrough

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import faust

    from stream_guard.app.partitions import Partitions
    from stream_guard.app.stages import Stage
    from stream_guard.ports import Topic


def add_agents(
    app: faust.App, stages: Sequence[Stage], topic_name: Callable[[Topic], str], partitions: Partitions
) -> None:
    """Register one agent per stage, reading all of its topics."""
    for stage in stages:
        channel = app.topic(*(topic_name(topic) for topic in stage.topics), schema=PassThrough(), acks=False)
        app.agent(channel, name=f"stream_guard.{stage.name}", concurrency=1)(_forward_to(partitions))


def _forward_to(partitions: Partitions) -> Callable[[Any], Any]:
    async def forward(stream: Any) -> None:  # noqa: ANN401 # a Faust stream
        async for envelope in stream:
            partitions.deliver(envelope)

    return forward
