"""One suspicions partition with bytes on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from stream_guard.decode import Decoded, Decoder, decode_operation
from stream_guard.desk import Desk
from stream_guard.encode import encode_alert, encode_decision
from stream_guard.errors import DecodeError, StateError
from stream_guard.nodes.align import Aligner
from stream_guard.nodes.clusters_node import PartsPrepared, decode_parts, refuse
from stream_guard.nodes.wire import decode_suspicions
from stream_guard.ports import Checkpoint, Envelope, Message, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.policy import Policy
    from stream_guard.records import Alert, Campaign, Decision, Operation, Outputs

META_VERSION = 1


@dataclass(frozen=True, slots=True)
class OrdersPrepared:
    """An envelope from people or the calendar."""

    envelope: Envelope
    decoded: Decoded | None
    operations: Sequence[Operation]
    refused: Sequence[tuple[int, DecodeError]]
    missing: Sequence[bytes] = ()


class CampaignsNode:
    """`ports.Node` around `Desk`; everything is in memory."""

    eager = True

    def __init__(self, partition: int, policy: Policy, sources: int, decoder: Decoder) -> None:
        self.partition = partition
        self.desk = Desk(policy)
        self._aligner = Aligner(sources)
        self._decoder = decoder
        self._epoch_seconds = policy.epochs.epoch_seconds
        self._next: dict[Topic, int] = {}
        self._changes = 0
        self._cold_starts = 0

    def decode(self, envelope: Envelope, *, latest_ts: float) -> PartsPrepared | OrdersPrepared:
        """Read suspicions, or what people said."""
        if envelope.topic is Topic.SUSPICIONS:
            return decode_parts(envelope)
        if envelope.topic is not Topic.OPERATIONS:
            decoded = self._decoder.decode(envelope.values, latest_ts=latest_ts)
            return OrdersPrepared(envelope, decoded, (), decoded.refused)
        operations: list[Operation] = []
        refused: list[tuple[int, DecodeError]] = []
        for position, value in enumerate(envelope.values):
            try:
                operations.append(decode_operation(value))
            except DecodeError as error:
                refused.append((position, error))
        return OrdersPrepared(envelope, None, operations, refused)

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        """Everything came with `restore`."""

    def process(self, prepared: PartsPrepared | OrdersPrepared) -> Output:
        """Evaluate what every source has reported, or carry out what people said."""
        messages, letters = refuse(prepared.envelope, prepared.refused)
        outputs = self._evaluate(prepared) if isinstance(prepared, PartsPrepared) else self._carry_out(prepared)
        alerts: list[Alert] = [alert for output in outputs for alert in output.alerts]
        decisions: list[Decision] = [decision for output in outputs for decision in output.decisions]
        campaigns: dict[str, Campaign] = {
            campaign.campaign_id: campaign for output in outputs for campaign in output.campaigns
        }
        messages += [Message(Topic.ALERTS, alert.alert_id.encode(), encode_alert(alert)) for alert in alerts]
        messages += [
            Message(Topic.DECISIONS, decision.decision_id.encode(), encode_decision(decision)) for decision in decisions
        ]
        self._changes += len(outputs)
        cold, self._cold_starts = self._cold_starts, 0
        return Output(
            messages=messages,
            counts={"cold_starts": cold},
            dead_letters=letters,
            alerts=alerts,
            decisions=decisions,
            campaigns=list(campaigns.values()),
            watermark=self.watermark,
        )

    def idle(self, watermark: float) -> Output:
        """Event time comes with the suspicions; nothing to do."""
        del watermark
        return Output()

    def _evaluate(self, prepared: PartsPrepared) -> list[Outputs]:
        for offset in prepared.envelope.offsets[-1:]:
            self._aligner.skip(offset)
        for offset, part in prepared.parts:
            self._aligner.offer(offset, part)
        return [
            self.desk.evaluate(
                epoch,
                (epoch + 1) * self._epoch_seconds,
                [decode_suspicions(source, epoch, data) for source, data in bundles],
            )
            for epoch, bundles in self._aligner.ready()
        ]

    def _carry_out(self, prepared: OrdersPrepared) -> list[Outputs]:
        if prepared.envelope.offsets:
            self._next[prepared.envelope.topic] = prepared.envelope.offsets[-1] + 1
        outputs = [self.desk.operate(operation) for operation in prepared.operations]
        if prepared.decoded is not None:
            outputs += [self.desk.feedback(feedback) for _, feedback in prepared.decoded.feedback]
        return outputs

    @property
    def watermark(self) -> float | None:
        """End of the last epoch that was evaluated."""
        return (self._aligner.applied + 1) * self._epoch_seconds if self._aligner.applied >= 0 else None

    @property
    def dirty(self) -> int:
        """Campaigns that the next checkpoint will write."""
        return len(self.desk.campaigns.dirty)

    def checkpoint(self) -> Checkpoint:
        """Changed campaigns, the books, and from where to read again."""
        states = self.desk.dump() if self._changes else {}
        meta = msgspec.msgpack.encode({"version": META_VERSION, **self._aligner.dump()})
        positions = dict(self._next)
        if self._aligner.resume_offset is not None:
            positions[Topic.SUSPICIONS] = self._aligner.resume_offset
        return Checkpoint(states, meta, positions)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Everything in `checkpoint` is clean."""
        del checkpoint  # nothing was processed since it was made
        self.desk.campaigns.dirty.clear()
        self._changes = 0

    def restore(self, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        """Start from a checkpoint; what cannot be read starts cold and is counted."""
        for item in states.items():
            try:
                self.desk.load([item])
            except StateError:
                self._cold_starts += 1
        if meta is not None:
            state = msgspec.msgpack.decode(meta, strict=False)
            if state.get("version") == META_VERSION:
                self._aligner.load(state)
            else:
                self._cold_starts += 1
