"""A single account against its plan's peers, its entitlement and its own past.

Ten honest clients carry most of the volume of any service, so volume alone accuses nobody: an account becomes
suspicious when it is out of line with its plan, its age and its own past *and* its prompts look like a query list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.groups import owner_of
from stream_guard.clusters.signal import Signal
from stream_guard.records import DAY_BINS, Evidence, Flag, Kind, Suspicion, take_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from stream_guard.policy import Accounts

    Floats = NDArray[np.float64]

_DAY = 86_400.0
_MIN_PEERS = 50
_GAP_TURNS = 6  # evaluations without suspicion after which an account that was reported has to convince again

ACCOUNT_SIGNALS = (
    Signal(
        "rate_among_peers",
        honest=0.0,
        attack=2.5,
        gain=4.5,
        loss=2.0,
        benign=-1.5,
        text="hourly rate is e^{observed:.1f} times the 99.5th percentile of its plan",
        adapts=False,
    ),
    Signal(
        "over_quota",
        honest=0.8,
        attack=3.0,
        gain=2.5,
        loss=0.5,
        benign=0.4,
        text="uses {observed:.1f} times what its plan entitles to in a day",
        adapts=False,
    ),
    Signal(
        "age_days",
        honest=60.0,
        attack=14.0,
        gain=2.0,
        loss=1.5,
        benign=180.0,
        text="signed up {observed:.0f} days ago",
        adapts=False,
    ),
    Signal(
        "own_past",
        honest=3.0,
        attack=8.0,
        gain=1.0,
        text="hourly rate is {observed:.1f} standard deviations above its own past",
        adapts=False,
    ),
    Signal(
        "one_template",
        honest=0.4,
        attack=0.95,
        gain=1.2,
        text="{observed:.0%} of its prompts fill in one of its own templates",
        adapts=False,
    ),
    Signal(
        "round_the_clock",
        honest=0.93,
        attack=0.995,
        gain=1.2,
        loss=0.7,
        benign=0.7,
        text="used round the clock: day flatness {observed:.2f}",
        adapts=False,
    ),
    Signal(
        "machine_pace",
        honest=1.3,
        attack=0.6,
        gain=1.2,
        text="queries come like clockwork: spread of ln(gap) {observed:.2f}",
        adapts=False,
    ),
    Signal(
        "cot_elicitation",
        honest=0.05,
        attack=0.25,
        gain=2.0,
        text="{observed:.1%} of its queries try to draw out the reasoning",
        adapts=False,
    ),
    Signal(
        "foreign_thinking_signature",
        honest=0.001,
        attack=0.02,
        gain=4.0,
        text="{observed:.2%} of its queries replay thinking signed for someone else",
        adapts=False,
    ),
    Signal(
        "no_institution",
        honest=0.5,
        attack=1.0,
        loss=2.0,
        gain=0.0,
        text="institutional mail, network or a declared organisation",
        adapts=False,
    ),
)
"""Registry of the signals of a single account."""


class AccountJudge:
    """Judges every account that is active enough; O(active accounts) an evaluation.

    What is known about one account is little, and an hour of eager work looks like abuse. So an account is reported
    when it was suspicious in `fire_evaluations` evaluations in a row, or overwhelmingly so in one.
    """

    def __init__(self, policy: Accounts) -> None:
        self._policy = policy
        self._streaks: dict[int, tuple[int, int]] = {}  # evaluation in which it was suspicious last; how many in a row

    def judge(  # noqa: PLR0913, PLR0917 - what one partition knows about one tenant, each part independent
        self,
        tenant: str,
        rows: NDArray[np.void],
        keys_of: Callable[[NDArray[np.int64]], list[str]],
        now: float,
        turn: int,
        partition: int,
        partitions: int,
        classes: Mapping[str, NDArray[np.uint32]] | None = None,
    ) -> list[Suspicion]:
        """Suspicions about single accounts of this partition; `rows` are the tenant's active rows.

        `turn` is the number of the evaluation.
        """
        hour = rows["rate_1h"] * np.exp(-(now - rows["last_ts"]) / 3_600.0)
        above = _among_peers(np.log1p(hour), np.ascontiguousarray(rows["values"][:, Kind.PLAN]))
        mine = np.flatnonzero(
            (rows["evidence_events"] >= self._policy.min_events) & (owner_of(rows["account"], partitions) == partition)
        )
        rows = take_rows(rows, mine)
        columns = {"rate_among_peers": above[mine], **_account_columns(rows, hour[mine], now, classes or {})}
        total = np.full(len(rows), self._policy.prior_log_odds)
        terms: dict[str, Floats] = {}
        for signal in ACCOUNT_SIGNALS:
            terms[signal.name] = signal.score_many(columns[signal.name])
            total = total + terms[signal.name]
        found = []
        self._streaks = {
            account: (last, streak)
            for account, (last, streak) in self._streaks.items()
            if turn - last <= (_GAP_TURNS if streak >= self._policy.fire_evaluations else 1)
        }
        for index in np.flatnonzero(total >= self._policy.fire_log_odds).tolist():
            account = int(rows["account"][index])
            streak = self._streaks.get(account, (turn, 0))[1] + 1
            if total[index] >= self._policy.fire_at_once_log_odds:
                streak = max(streak, self._policy.fire_evaluations)
            self._streaks[account] = turn, streak
            if streak < self._policy.fire_evaluations:
                continue
            evidence = [Evidence("prior", self._policy.prior_log_odds, 0.0, 0.0, "before any evidence: abuse is rare")]
            for signal in ACCOUNT_SIGNALS:
                term = float(terms[signal.name][index])
                if term:
                    evidence.append(signal.explain(term, float(columns[signal.name][index])))
            found.append(
                Suspicion(
                    cluster=f"{tenant}/account/{account:016x}",
                    tenant=tenant,
                    kind=Kind.ACCOUNT,
                    value=account & 0xFFFFFFFF,
                    log_odds=float(sum(term.contribution for term in evidence)),
                    evidence=tuple(evidence),
                    rows=rows[index : index + 1],
                    keys=keys_of(mine[index : index + 1]),
                    anchors=(),
                    names={},
                )
            )
        return found

    def dump(self) -> dict[int, tuple[int, int]]:
        """Accounts under suspicion, as plain data."""
        return dict(self._streaks)

    def load(self, streaks: Mapping[int, tuple[int, int]]) -> None:
        """Put back what `dump` gave."""
        self._streaks = dict(streaks)


def _account_columns(
    rows: NDArray[np.void], hour: Floats, now: float, classes: Mapping[str, NDArray[np.uint32]]
) -> dict[str, Floats]:
    """The statistics behind `ACCOUNT_SIGNALS` that need nobody else, one value a row; NaN where unknown."""
    day = rows["rate_1d"] * np.exp(-(now - rows["last_ts"]) / _DAY)
    events = np.maximum(rows["evidence_events"].astype(np.float64), 1.0)
    shape = rows["day_shape"] / np.maximum(rows["day_shape"].sum(axis=1, keepdims=True), 1e-9)
    entropy = -(shape * np.log(np.maximum(shape, 1e-12))).sum(axis=1) / np.log(DAY_BINS)
    seen_seconds = now - rows["first_ts"]
    mail, network = rows["values"][:, Kind.EMAIL_CLASS], rows["values"][:, Kind.ASN_CLASS]
    institution = (
        _is_in(mail, classes, "corporate", "edu")
        | _is_in(network, classes, "corporate", "education")
        | (rows["values"][:, Kind.ORG] != 0)
    )
    return {
        "over_quota": np.where(rows["quota"] > 0, np.maximum(day, hour) / np.maximum(rows["quota"], 1e-9), np.nan),
        "age_days": (now - rows["created_at"]) / _DAY,
        "own_past": rows["own_score"].astype(np.float64),
        "one_template": np.where(rows["prompts"] >= 20, rows["template_share"], np.nan).astype(np.float64),
        "round_the_clock": np.where(seen_seconds >= 20 * 3_600.0, entropy, np.nan),
        "machine_pace": np.where(events >= 50, np.sqrt(np.maximum(rows["gap_var"], 0.0)), np.nan).astype(np.float64),
        "cot_elicitation": rows["flags"][:, Flag.COT_ELICITATION] / events,
        "foreign_thinking_signature": np.where(
            rows["flags"][:, Flag.FOREIGN_THINKING_SIGNATURE] >= 3,
            rows["flags"][:, Flag.FOREIGN_THINKING_SIGNATURE] / events,
            0.0,
        ),
        "no_institution": 1.0 - institution.astype(np.float64),
    }


def _among_peers(log_rate: Floats, plan: NDArray[np.uint32]) -> Floats:
    """ln(rate) above the 99.5th percentile of accounts of the same plan; of everyone where peers are few."""
    everyone = _near_top(log_rate)
    limit = np.full(len(log_rate), everyone)
    for value, count in zip(*np.unique(plan, return_counts=True), strict=True):
        if value and count >= _MIN_PEERS:
            peers = plan == value
            limit[peers] = _near_top(log_rate[peers])
    return np.asarray(log_rate - np.maximum(limit, np.log1p(30.0)))


def _near_top(values: Floats) -> float:
    """About the 99.5th percentile, and never the highest value itself: an account is not its own peer."""
    rank = min(max(len(values) // 200 + 1, 2), len(values))
    return float(np.partition(values, -rank)[-rank]) if rank else 0.0


def _is_in(values: NDArray[np.uint32], classes: Mapping[str, NDArray[np.uint32]], *names: str) -> NDArray[np.bool_]:
    wanted = [classes[name] for name in names if name in classes]
    return np.isin(values, np.concatenate(wanted)) if wanted else np.zeros(len(values), np.bool_)
