"""One trial: simulate, replay in this process, score. The records go in as JSON bytes; the truth stays outside."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import msgspec

from stream_guard.evaluate.ablation import without
from stream_guard.evaluate.baselines import Baselines
from stream_guard.evaluate.chronicle import Chronicle
from stream_guard.evaluate.judge import Judge
from stream_guard.evaluate.scoring import score
from stream_guard.evaluate.truth import read_truth
from stream_guard.pipeline import Pipeline
from stream_guard.replay import CHUNK_RECORDS, run
from stream_guard.simulate import simulate
from stream_guard.simulate.traces import simulate_traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stream_guard.evaluate.truth import Truth
    from stream_guard.policy import Policy
    from stream_guard.records import Json
    from stream_guard.simulate import Traffic

    Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Shards:
    """A list of real questions, spread over a pool in front of real background traffic.

    Attributes:
        directory: where the real traces lie.
        family: how the prompts are made.
        accounts: of the pool.
    """

    directory: Path
    family: str
    accounts: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What to simulate.

    Attributes:
        shards: real traffic instead of a scenario; `scenario` is its name then, `scale` and `days` are not used.
        without: part of the signals that the detector has to do without; nothing means all are there.
        cluster_partitions: how fingerprints are divided.
    """

    scenario: str
    seed: int
    scale: float
    days: float | None = None
    background_accounts: int = 21_000
    baselines: bool = False
    shards: Shards | None = None
    without: str = ""
    cluster_partitions: int = 1


def run_trial(trial: Trial, policy: Policy, progress: Progress | None = None) -> tuple[Json, float]:
    """Run and score one trial.

    Args:
        trial: what to simulate.
        policy: what the operator tuned.
        progress: called with the number of records fed so far and their total.

    Returns:
        The score, which depends on nothing but the arguments, and the seconds that it took.
    """
    started = time.monotonic()
    traffic = _simulate(trial)
    truth = read_truth(traffic.truth)
    feeder = Feeder(traffic, truth, Baselines(truth) if trial.baselines else None, progress)
    pipeline, judge, chronicle = Pipeline(policy, trial.cluster_partitions), Judge(truth), Chronicle(truth)
    with without(trial.without):
        for outputs in run(pipeline, feeder.chunks(), latest_ts=float("inf")):
            judge.observe(outputs)
            chronicle.observe(outputs)
    finished = pipeline.finished()
    result: Json = {**asdict(trial), "days": truth.days, "records": pipeline.counts.records}
    del result["shards"]
    if trial.shards is not None:
        result |= {"family": trial.shards.family, "accounts_sharded": trial.shards.accounts}
    result |= score(truth, judge, finished, len(feeder.accounts))
    result |= {"timelines": chronicle.timelines(), "reliability": chronicle.reliability(finished)}
    result["honest"]["acted_on_accounts"] = chronicle.honest_acted_on(judge.acted_on - truth.hostile)
    del result["baselines"]
    if not trial.without:
        del result["without"]
    if feeder.baselines is not None:
        result["baselines"] = feeder.baselines.score(len(judge.acted_on - truth.hostile))
    return result, time.monotonic() - started


def _simulate(trial: Trial) -> Traffic:
    if trial.shards is not None:
        return simulate_traces(
            trial.shards.directory,
            trial.shards.family,
            trial.shards.accounts,
            seed=trial.seed,
            background_accounts=trial.background_accounts,
        )
    return simulate(
        trial.scenario,
        scale=trial.scale,
        seed=trial.seed,
        days=trial.days,
        background_accounts=trial.background_accounts,
    )


class Feeder:
    """Encodes records in lists, and tells the truth and the baselines about each.

    Args:
        traffic: the records.
        truth: told when its accounts speak.
        baselines: told every query, where they run.
        progress: called with the number of records fed so far and their total.
    """

    def __init__(self, traffic: Traffic, truth: Truth, baselines: Baselines | None, progress: Progress | None) -> None:
        self.accounts: set[str] = set()
        self.baselines = baselines
        self._traffic = traffic
        self._progress = progress
        self._hostile = {
            account: [attack for attack in truth.attacks if account in attack.accounts] for account in truth.hostile
        }

    def chunks(self) -> Iterator[list[bytes]]:
        """What the detector gets; nothing of the truth is in it."""
        encode = msgspec.json.Encoder().encode
        chunk: list[bytes] = []
        fed = 0
        for record in self._traffic.records:
            chunk.append(encode(record))
            if record["type"] == "query":
                self._note(record)
            if len(chunk) == CHUNK_RECORDS:
                yield chunk
                fed += len(chunk)
                chunk = []
                if self._progress is not None:
                    self._progress(fed, self._traffic.events)
        if chunk:
            yield chunk

    def _note(self, record: Json) -> None:
        account, ts = record["account_id"], record["ts"] / 1_000
        self.accounts.add(account)
        for attack in self._hostile.get(account, ()):
            attack.note(account, ts)
        if self.baselines is not None:
            self.baselines.add(account, ts, record)
