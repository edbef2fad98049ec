"""Events and account summaries as columns: what the first two stages exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Kind(IntEnum):
    """What two accounts can have in common. The number is part of stored state: append, never renumber."""

    PAYMENT = 0
    ADDRESS = 1  # IPv4 /24, IPv6 /48, or the opaque hash as it came
    ASN = 2
    ASN_CLASS = 3
    COUNTRY = 4
    TLS = 5
    HEADER = 6
    USER_AGENT = 7
    CLIENT = 8  # TLS, header and user agent together
    SYSTEM_PROMPT = 9
    TEMPLATE = 10  # a key that recurs in the prompts of an account; among the values, that of its newest prompt
    ORG = 11
    EMAIL_CLASS = 12
    CREDIT = 13
    COHORT = 14  # signed up within the same six hours
    PLAN = 15
    ACCESS_PATH = 16
    LANGUAGE = 17
    MODEL = 18
    ACCOUNT = 19  # the account by itself
    CLIENT_ASN = 20  # pairs, made where groups are formed
    CLIENT_COUNTRY = 21
    CLIENT_COHORT = 22


class Capability(IntEnum):
    """Upstream capability tag; anything unknown is `OTHER`, a missing tag `UNTAGGED`."""

    UNTAGGED = 0
    CHAT = 1
    CODING = 2
    AGENTIC = 3
    REASONING = 4
    TOOL_USE = 5
    VISION = 6
    OTHER = 7


class Flag(IntEnum):
    """Bit number of each flag in `EventBatch.flags`."""

    COT_ELICITATION = 0
    FOREIGN_THINKING_SIGNATURE = 1
    EDITED_CONTEXT = 2
    REFUSAL = 3


KINDS = 20  # kinds that an event can show by itself

CAPABILITIES = len(Capability)

FLAGS = len(Flag)

DAY_BINS = 8

TEMPLATE_SLOTS = 8

READY_PROMPTS = 4  # an account that asked fewer may show a key that has not recurred, and has no template share

ADDRESS_SLOTS = 4

ITEM_SLOTS = 4

SKETCH_KEYS = 8

TOPIC_BITS = 64

SKETCH = np.dtype(
    [
        ("exact", "<u8"),  # identity of the normalised prompt
        ("topic", "<u8"),  # simhash over the bag of tokens: word order does not matter
        ("keys", "<u4", SKETCH_KEYS),  # min-hash keys of token shingles, then head and tail
    ]
)

"""One prompt sketch; `exact` is 0 where there was no prompt."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    r"""Decoded `query` records of one partition as columns of equal length n, in arrival order.

    Attributes:
        key: `account_id`, or `tenant + "\x1f" + account_id` outside the default tenant.
        event: 64-bit hash of tenant and `event_id`.
        ts: event time, Unix seconds.
        created_at: sign-up, Unix seconds; NaN when unknown.
        quota: requests a day that the plan entitles to; NaN when unknown.
        input_tokens: NaN when unknown.
        output_tokens: NaN when unknown.
        status: HTTP status; 0 when unknown.
        limited: the answer was shaped by a decision of ours (`limited_by`).
        flags: bit set of `Flag`.
        capability: `Capability` numbers.
        values: (n, KINDS) 32-bit hashes of what each event shows; 0 = unknown. TEMPLATE and ACCOUNT stay 0.
        sketch: n rows of `SKETCH`.
        names: readable text of each (kind, value) that this decoder meets for the first time.
    """

    key: Sequence[str]
    event: NDArray[np.uint64]
    ts: NDArray[np.float64]
    created_at: NDArray[np.float64]
    quota: NDArray[np.float64]
    input_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    status: NDArray[np.int16]
    limited: NDArray[np.bool_]
    flags: NDArray[np.uint8]
    capability: NDArray[np.uint8]
    values: NDArray[np.uint32]
    sketch: NDArray[np.void]
    names: Mapping[tuple[int, int], str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts)


ROW = np.dtype(
    [
        ("account", "<u8"),  # 64-bit hash of the account key
        ("events", "<u4"),  # queries so far, limited ones included
        ("evidence_events", "<u4"),  # queries that count as evidence: not limited by us
        ("prompts", "<u4"),
        ("output_tokens", "<f8"),
        ("first_ts", "<f8"),
        ("last_ts", "<f8"),
        ("created_at", "<f8"),
        ("status_at", "<f8"),
        ("status", "u1"),
        ("ready", "u1"),  # the account's own models have seen enough
        ("quota", "<f4"),
        ("rate_5m", "<f4"),  # decayed counts at last_ts
        ("rate_1h", "<f4"),
        ("rate_1d", "<f4"),
        ("gap_mean", "<f4"),  # of ln(seconds between queries)
        ("gap_var", "<f4"),
        ("out_mean", "<f4"),  # of ln(1 + tokens)
        ("out_var", "<f4"),
        ("in_mean", "<f4"),
        ("in_var", "<f4"),
        ("own_score", "<f4"),  # surprise against its own past, in standard deviations
        ("template_share", "<f4"),  # share of recent prompts that show one of the account's templates
        ("day_shape", "<f4", DAY_BINS),  # decayed counts by three-hour bin, UTC
        ("capability", "<f4", CAPABILITIES),  # queries so far by capability
        ("flags", "<f4", FLAGS),  # queries so far by flag
        ("topic", "i1", TOPIC_BITS),  # mean topic bit, -127 to 127
        ("items", "<u4", ITEM_SLOTS),  # smallest item hashes: agree where item lists agree
        ("values", "<u4", KINDS),  # what it showed last, by kind
        ("addresses", "<u4", ADDRESS_SLOTS),
        ("templates", "<u4", TEMPLATE_SLOTS),
    ]
)

"""One account's summary: what a delta carries. Counters only grow, so of two rows the one with more events is newer."""


@dataclass(frozen=True, slots=True)
class DeltaBundle:
    """What one accounts partition tells one clusters partition at the end of an epoch.

    Rows are absolute, so a bundle that arrives twice or late changes nothing that it already said.
    """

    source: int
    epoch: int
    rows: NDArray[np.void]
    keys: Sequence[str]
    names: Mapping[tuple[int, int], str]
