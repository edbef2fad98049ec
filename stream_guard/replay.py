"""The same pipeline over files: no Kafka, no Redis, and event time only.

Files are read one after the other, the one with the earliest record first. What leaves the pipeline is written as it
comes; `summary.json` says what was read and decided. None of the files names a wall-clock time, so the same input,
policy and seed give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from stream_guard import __version__
from stream_guard.adapters.files import read_lines
from stream_guard.adapters.publish import RecordFiles
from stream_guard.decode import Decoder
from stream_guard.encode import time_text
from stream_guard.errors import InputError
from stream_guard.pipeline import CLUSTER_PARTITIONS, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from stream_guard.policy import Policy
    from stream_guard.records import Campaign, Json, Outputs

    Watch = Callable[[int, Pipeline], object]

CHUNK_RECORDS: Final = 2_000
FUTURE_SKEW_SECONDS: Final = 300.0
SUMMARY: Final = "summary.json"
SUMMARY_SCHEMA: Final = "stream_guard.summary.v1"
_FIRST_RECORDS: Final = 100


@dataclass(slots=True)
class Tally:
    """What left a pipeline, counted."""

    alert_ids: set[str] = field(default_factory=set)
    transitions: int = 0
    alerts: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("status", "severity", "verdict", "scope")}
    )
    decisions: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    decision_statuses: Counter[str] = field(default_factory=Counter)

    def add(self, outputs: Outputs) -> None:
        """Count one step."""
        for alert in outputs.alerts:
            self.alert_ids.add(alert.alert_id)
            self.transitions += 1
            for name, counter in self.alerts.items():
                counter[getattr(alert, name).value] += 1
        for decision in outputs.decisions:
            self.decisions += 1
            self.actions[decision.action.value] += 1
            self.decision_statuses[decision.status.value] += 1


def run(pipeline: Pipeline, chunks: Iterable[Sequence[bytes]], *, latest_ts: float) -> Iterator[Outputs]:
    """Feed lists of records and end the run.

    Args:
        pipeline: a new one.
        chunks: lists of records.
        latest_ts: records after this are refused.

    Yields:
        What became known, in its order.
    """
    for chunk in chunks:
        outputs, _ = pipeline.feed(chunk, latest_ts=latest_ts)
        yield from outputs
    yield from pipeline.end()


def replay(  # noqa: PLR0913  # the options of the command, all by keyword
    files: Sequence[Path],
    out: Path,
    *,
    policy: Policy,
    latest_ts: float,
    seed: int = 0,
    cluster_partitions: int = CLUSTER_PARTITIONS,
    watch: Watch | None = None,
) -> Json:
    """Replay files into a directory.

    Args:
        files: JSON Lines, plain or compressed.
        out: made if it does not exist; only the four files of a replay are replaced there.
        policy: what the operator tuned.
        latest_ts: records after this are refused.
        seed: recorded; the pipeline draws nothing at random that it would change.
        cluster_partitions: how fingerprints are divided.
        watch: called after each list of records with the bytes read since and the pipeline.

    Returns:
        What `summary.json` holds.

    Raises:
        InputError: a file cannot be read, or holds no readable record.
    """
    ordered = in_order(files, latest_ts)
    pipeline, tally = Pipeline(policy, cluster_partitions), Tally()
    with RecordFiles(out) as target:
        part = out / (SUMMARY + ".part")
        for outputs in run(pipeline, _chunks(ordered, pipeline, watch), latest_ts=latest_ts):
            tally.add(outputs)
            target.alerts(outputs.alerts)
            target.decisions(outputs.decisions)
        campaigns = pipeline.finished()
        target.campaigns(campaigns)
        found = summary(pipeline, tally, campaigns)
        found |= {"policy_sha256": policy_hash(policy), "seed": seed, "cluster_partitions": cluster_partitions}
        part.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    part.replace(out / SUMMARY)
    return found


def in_order(files: Sequence[Path], latest_ts: float) -> list[Path]:
    """Sort files by the time of the first record that can be read.

    Raises:
        InputError: a file cannot be read, or holds no readable record.
    """
    return sorted(dict.fromkeys(files), key=lambda path: (_first_time(path, latest_ts), str(path)))


def policy_hash(policy: Policy) -> str:
    """Name a policy by what it says."""
    text = json.dumps(policy.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def summary(pipeline: Pipeline, tally: Tally, campaigns: Sequence[Campaign]) -> Json:
    """Say what a finished run has seen and decided.

    Args:
        pipeline: after its end.
        tally: what left it.
        campaigns: as they stand.

    Returns:
        A JSON object without any wall-clock time.
    """
    counts = pipeline.counts
    standing = [campaign for campaign in campaigns if campaign.merged_into is None]
    return {
        "schema": SUMMARY_SCHEMA,
        "version": __version__,
        "records": counts.records,
        "events": counts.events,
        "duplicates": counts.duplicates,
        "limited": counts.limited,
        "late": counts.late,
        "refused": dict(sorted(counts.refused.items())),
        "accounts": pipeline.accounts,
        "first_event": _time_or_none(pipeline.first_ts),
        "last_event": _time_or_none(pipeline.watermark),
        "alerts": {
            "alerts": len(tally.alert_ids),
            "transitions": tally.transitions,
            **{f"by_{name}": dict(sorted(counter.items())) for name, counter in tally.alerts.items()},
        },
        "campaigns": {
            "campaigns": len(standing),
            "merged": len(campaigns) - len(standing),
            "by_verdict": dict(sorted(Counter(campaign.verdict.value for campaign in standing).items())),
        },
        "decisions": {
            "decisions": tally.decisions,
            "by_action": dict(sorted(tally.actions.items())),
            "by_status": dict(sorted(tally.decision_statuses.items())),
        },
    }


def _chunks(files: Sequence[Path], pipeline: Pipeline, watch: Watch | None) -> Iterator[list[bytes]]:
    read = 0

    def count(size: int) -> None:
        nonlocal read
        read += size

    for path in files:
        for lines in read_lines(path, chunk_records=CHUNK_RECORDS, progress=count):
            yield lines
            if watch is not None:
                watch(read, pipeline)
                read = 0


def _first_time(path: Path, latest_ts: float) -> float:
    """Event time of the first readable record; the file is searched until there is one."""
    decoder, refused = Decoder(), Counter[str]()
    for lines in read_lines(path, chunk_records=_FIRST_RECORDS):
        decoded = decoder.decode(lines, latest_ts=latest_ts)
        times = [(number, status.ts) for number, status in decoded.statuses]
        times += [(number, release.ts) for number, release in decoded.releases]
        times += [(number, feedback.ts) for number, feedback in decoded.feedback]
        if len(decoded.batch):
            times.append((int(decoded.batch_index[0]), float(decoded.batch.ts[0])))
        if times:
            return min(times)[1]
        refused.update(error.reason for _, error in decoded.refused)
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
    raise InputError(f"{path} holds no readable record" + (f" (refused: {why})" if why else ": it is empty"))


def _time_or_none(seconds: float) -> str | None:
    return time_text(seconds) if abs(seconds) != float("inf") else None
