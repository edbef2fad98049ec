"""Builders for the core's tests: records as bytes, batches, rows, suspicions, and a small labelled world."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_guard.accounts.table import account_hash
from stream_guard.decode import Decoder
from stream_guard.records import (
    ROW,
    DeltaBundle,
    EventBatch,
    Evidence,
    Kind,
    Suspicion,
    SuspicionBundle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.void]

START = 1_760_000_400.0  # a whole multiple of ten minutes
DAY = 86_400.0
NEVER = float("inf")
DISPOSABLE, CORPORATE, RESIDENTIAL = 901, 902, 903
CLASS_NAMES = {
    (int(Kind.EMAIL_CLASS), DISPOSABLE): "disposable",
    (int(Kind.EMAIL_CLASS), CORPORATE): "corporate",
    (int(Kind.ASN_CLASS), RESIDENTIAL): "residential",
}


def record(account: str, ts: float, event: str, **fields: Any) -> bytes:  # noqa: ANN401 # whatever a record takes
    """One `query` record as JSON."""
    return json.dumps({"event_id": event, "ts": round(ts * 1_000), "account_id": account, **fields}).encode()


def words(generator: np.random.Generator, count: int) -> str:
    """So many made-up words of letters; they hardly ever come twice."""
    return " ".join(
        "".join(chr(97 + letter) for letter in word) for word in generator.integers(0, 26, (count, 6)).tolist()
    )


def status_record(account: str, ts: float, status: str) -> bytes:
    """One `account_status` record as JSON."""
    return json.dumps(
        {"type": "account_status", "account_id": account, "ts": round(ts * 1_000), "status": status}
    ).encode()


def batch_of(records: Sequence[bytes]) -> EventBatch:
    """Decode records by themselves."""
    return Decoder().decode(records, latest_ts=NEVER).batch


def blank_rows(keys: Sequence[str]) -> Rows:
    """Rows of accounts about which nothing is known yet."""
    rows = np.zeros(len(keys), ROW)
    rows["account"] = [account_hash(key) for key in keys]
    rows["created_at"] = rows["quota"] = rows["status_at"] = np.nan
    return rows


def honest_rows(count: int, seed: int, now: float = START) -> tuple[Rows, list[str]]:
    """People: heavy-tailed use, own cards and addresses, clients and networks that many share, nights."""
    generator = np.random.default_rng(seed)
    keys = [f"honest-{seed}-{number}" for number in range(count)]
    rows = blank_rows(keys)
    per_day = np.exp(generator.normal(2.5, 1.5, count))
    _use(rows, per_day, now - generator.uniform(0.0, 0.3 * DAY, count), now)
    rows["created_at"] = now - generator.uniform(1.0, 700.0, count) * DAY
    rows["gap_var"] = generator.uniform(2.5, 6.0, count)
    rows["template_share"] = generator.beta(1.0, 8.0, count)
    hour = (generator.normal(4.0, 1.0, count)[:, None] - np.arange(8)[None, :]) / 1.5
    rows["day_shape"] = rows["rate_1d"][:, None] * np.exp(-(hour**2))
    rows["capability"] = generator.dirichlet(np.ones(8), count) * rows["events"][:, None]
    rows["topic"] = generator.integers(-60, 60, (count, 64))
    rows["items"] = generator.integers(1, 1 << 32, (count, 4))
    rows["templates"][:, :2] = generator.integers(1, 1 << 32, (count, 2))
    rows["addresses"][:, 0] = generator.integers(1 << 20, 1 << 32, count)
    client = generator.integers(1, 15, count)
    country = generator.integers(1, 10, count)
    for kind, values in (
        (Kind.PAYMENT, generator.integers(1 << 20, 1 << 32, count)),
        (Kind.ADDRESS, rows["addresses"][:, 0]),
        (Kind.ASN, country * 100 + generator.integers(1, 5, count)),
        (Kind.ASN_CLASS, np.full(count, RESIDENTIAL)),
        (Kind.COUNTRY, country),
        (Kind.TLS, client),
        (Kind.HEADER, client),
        (Kind.CLIENT, client),
        (Kind.COHORT, (rows["created_at"] // 21_600).astype(np.int64) % 1_000_003 + 1),
        (Kind.EMAIL_CLASS, np.where(generator.random(count) < 0.2, CORPORATE, 904)),
        (Kind.PLAN, generator.integers(1, 4, count)),
        (Kind.LANGUAGE, country),
        (Kind.MODEL, generator.integers(1, 4, count)),
    ):
        rows["values"][:, kind] = values
    return rows, keys


def pool_rows(count: int, seed: int, now: float = START, name: str = "pool") -> tuple[Rows, list[str]]:
    """An obvious pool: one card, one template, even counts, young accounts, disposable mail, the clock round."""
    generator = np.random.default_rng(seed)
    rows, _ = honest_rows(count, seed, now)
    keys = [f"{name}-{number}" for number in range(count)]
    rows["account"] = [account_hash(key) for key in keys]
    _use(rows, generator.poisson(60.0, count).astype(np.float64), now - generator.uniform(0.0, 600.0, count), now)
    rows["created_at"] = now - 2.0 * DAY - generator.uniform(0.0, 3_600.0, count)
    rows["gap_var"] = 0.2
    rows["template_share"] = 0.97
    rows["day_shape"] = rows["rate_1d"][:, None] / 8.0
    rows["capability"] = 0.0
    rows["capability"][:, 4] = rows["events"]
    rows["templates"] = 0
    rows["templates"][:, 0] = 777
    rows["values"][:, Kind.PAYMENT] = 4_242
    rows["values"][:, Kind.EMAIL_CLASS] = DISPOSABLE
    rows["values"][:, Kind.COHORT] = 31_337
    return rows, keys


def _use(rows: Rows, per_day: NDArray[np.float64], last_ts: NDArray[np.float64], now: float) -> None:
    rows["events"] = rows["evidence_events"] = np.maximum(2.0 * per_day, 1.0)
    rows["prompts"] = rows["events"]
    rows["output_tokens"] = rows["events"] * 500.0
    rows["last_ts"] = last_ts
    rows["first_ts"] = now - 2.0 * DAY
    rows["rate_1d"] = per_day
    rows["rate_1h"] = per_day / 24.0


def later(rows: Rows, seconds: float) -> Rows:
    """The same accounts after as much more of the same use."""
    moved = rows.copy()
    moved["events"] += np.maximum((moved["rate_1d"] * seconds / DAY).astype(np.uint32), 1)
    moved["evidence_events"] = moved["events"]
    moved["last_ts"] += seconds
    return moved


def delta(epoch: int, *parts: tuple[Rows, Sequence[str]], source: int = 0) -> DeltaBundle:
    """One bundle of several kinds of accounts."""
    keys = [key for _, names in parts for key in names]
    return DeltaBundle(source, epoch, np.concatenate([rows for rows, _ in parts]), keys, CLASS_NAMES)


def suspicion(
    value: int,
    keys: Sequence[str],
    *,
    kind: Kind = Kind.TEMPLATE,
    log_odds: float = 4.0,
    now: float = START,
    tenant: str = "default",
    anchors: tuple[tuple[int, int, float, float], ...] | None = None,
    **columns: Any,  # noqa: ANN401 # fields of ROW
) -> Suspicion:
    """A suspicious group of accounts that all show `value`; `columns` fill the rows."""
    rows = blank_rows(keys)
    rows["events"] = rows["evidence_events"] = 100
    rows["output_tokens"] = 50_000.0
    rows["first_ts"], rows["last_ts"], rows["created_at"] = now - DAY, now - 60.0, now - 3.0 * DAY
    rows["rate_1h"], rows["rate_1d"] = 10.0, 100.0
    rows["capability"][:, 4] = 100.0
    if kind is Kind.TEMPLATE:
        rows["templates"][:, 0] = value
    elif kind < rows["values"].shape[1]:
        rows["values"][:, kind] = value
    for name, column in columns.items():
        rows[name] = column
    prior = Evidence("prior", -6.0, 0.0, 0.0, "before any evidence")
    order = np.argsort(rows["account"])
    return Suspicion(
        cluster=f"{tenant}/{kind.name.lower()}/{value:08x}",
        tenant=tenant,
        kind=kind,
        value=value,
        log_odds=log_odds,
        evidence=(
            prior,
            Evidence("even_counts", 2.0, 0.1, 0.7, "too even"),
            Evidence("shared_template", log_odds + 4.0, 0.9, 0.2, "one template"),
        ),
        rows=rows[order],
        keys=[keys[index] for index in order.tolist()],
        anchors=((int(kind), value, 1.0, 1e-4),) if anchors is None else anchors,
        names={},
    )


def bundle(
    epoch: int, *suspicions: Suspicion, source: int = 0, traffic: Mapping[str, tuple[int, float]] | None = None
) -> SuspicionBundle:
    """What one clusters partition says."""
    return SuspicionBundle(source, epoch, suspicions, traffic or {"default": (10_000, 100_000.0)}, {})


@dataclass(frozen=True, slots=True)
class World:
    """Records in order of time with their account keys, and who the pool is."""

    records: tuple[tuple[str, bytes], ...]
    pool: frozenset[str]
    end: float


def small_world(seed: int = 1, hours: float = 1.5, honest: int = 60, pool: int = 20) -> World:
    """Ordinary people and one pool, as raw records in order of event time."""
    generator = np.random.default_rng(seed)
    timed: list[tuple[float, str, bytes]] = []
    for number in range(honest):
        account = f"person-{number}"
        people = {
            "payment_fp": f"card-{number}",
            "ip": f"10.{number}.{int(generator.integers(256))}.9",
            "asn": int(generator.integers(1, 8)),
            "asn_class": "residential",
            "country": "DE" if number % 2 else "FR",
            "tls_fp": f"tls-{number % 4}",
            "email_class": "freemail",
            "plan": "pro",
            "account_created_at": round((START - float(generator.uniform(40.0, 900.0)) * DAY) * 1_000),
        }
        for event in range(1 + int(np.exp(generator.normal(1.5, 1.2)))):
            ts = START + float(generator.uniform(0.0, hours * 3_600.0))
            text = words(generator, 12)
            value = record(account, ts, f"{account}-{event}", prompt=text, capability="chat", **people)
            timed.append((ts, account, value))
    members = [f"pool-{number}" for number in range(pool)]
    for turn in range(int(hours * 3_600.0 / 120.0)):
        for number, account in enumerate(members):
            ts = START + 120.0 * turn + 5.0 * number + float(generator.uniform(0.0, 2.0))
            text = (
                f"Think step by step about the following question and answer in numbered lines: {words(generator, 3)}"
            )
            timed.append(
                (
                    ts,
                    account,
                    record(
                        account,
                        ts,
                        f"{account}-{turn}",
                        prompt=text,
                        capability="reasoning",
                        output_tokens=900,
                        payment_fp="one-card",
                        ip=f"172.16.{number}.1",
                        asn=99,
                        asn_class="datacenter",
                        country="DE",
                        tls_fp="tls-1",
                        email_class="disposable",
                        plan="pro",
                        account_created_at=round((START - 2.0 * DAY) * 1_000),
                    ),
                )
            )
    timed.sort()
    return World(tuple((account, value) for _, account, value in timed), frozenset(members), START + hours * 3_600.0)
