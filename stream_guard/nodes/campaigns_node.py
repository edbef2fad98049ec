"""One suspicions partition with bytes on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_guard.decode import Decoded, Decoder, decode_operation
from stream_guard.desk import Desk
from stream_guard.encode import encode_alert, encode_decision
from stream_guard.errors import DecodeError, StateError
from stream_guard.nodes.align import Aligner
from stream_guard.nodes.clusters_node import PartsPrepared, Refused, decode_parts, open_bundles, refuse
from stream_guard.nodes.wire import decode_suspicions
from stream_guard.ports import Checkpoint, Envelope, Message, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.policy import Policy
    from stream_guard.records import Alert, Campaign, Decision, Operation, Outputs


@dataclass(frozen=True, slots=True)
class OrdersPrepared:
    """An envelope from people or the calendar."""

    envelope: Envelope
    decoded: Decoded | None
    operations: Sequence[Operation]
    refused: Sequence[Refused]
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
            return decode_parts(envelope, self._aligner.sources)
        if envelope.topic is not Topic.OPERATIONS:
            decoded = self._decoder.decode(envelope.values, latest_ts=latest_ts)
            refused = [(envelope.offsets[at], error, envelope.values[at]) for at, error in decoded.refused]
            return OrdersPrepared(envelope, decoded, (), refused)
        operations: list[Operation] = []
        bad: list[Refused] = []
        for offset, value in zip(envelope.offsets, envelope.values, strict=True):
            try:
                operations.append(decode_operation(value))
            except DecodeError as error:
                bad.append((offset, error, value))
        return OrdersPrepared(envelope, None, operations, bad)

    def load(self, states: Mapping[bytes, bytes | None]) -> None:
        """Everything came with `restore`."""

    def process(self, prepared: PartsPrepared | OrdersPrepared) -> Output:
        """Evaluate what every source has reported, or carry out what people said."""
        refused = list(prepared.refused)
        if isinstance(prepared, PartsPrepared):
            outputs, bad = self._evaluate(prepared)
            refused += bad
        else:
            outputs = self._carry_out(prepared)
        messages, letters = refuse(prepared.envelope, refused)
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

    def _evaluate(self, prepared: PartsPrepared) -> tuple[list[Outputs], list[Refused]]:
        for offset, part in prepared.parts:
            self._aligner.offer(offset, part)
        for offset in prepared.envelope.offsets[-1:]:
            self._aligner.skip(offset)
        outputs: list[Outputs] = []
        refused: list[Refused] = []
        for epoch, bundles in self._aligner.ready():
            new = [bundle for bundle in bundles if bundle.epoch == epoch]  # an old one has been judged
            opened, bad = open_bundles(new, decode_suspicions)
            refused += bad
            outputs.append(self.desk.evaluate(epoch, (epoch + 1) * self._epoch_seconds, opened))
        return outputs, refused

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
        meta = self._aligner.dump()
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
            try:
                self._aligner.load(meta)
            except StateError:
                self._cold_starts += 1
