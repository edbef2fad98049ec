"""What one closed epoch changes in the accounts that it touched.

All functions work on the events of one epoch, sorted by slot and time, and on copies of the touched rows; the caller
writes the rows back. Limited answers (`limited_by`) are counted but are no evidence, so they arrive here only in
`count_events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.accounts.segments import Segments, ew_fold
from stream_guard.accounts.templates import learn_templates, show_newest
from stream_guard.records import (
    ADDRESS_SLOTS,
    CAPABILITIES,
    DAY_BINS,
    FLAGS,
    ITEM_SLOTS,
    KINDS,
    READY_PROMPTS,
    TOPIC_BITS,
    EventBatch,
    Kind,
    put_rows,
    take_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUTES_5, HOUR, DAY = 300.0, 3_600.0, 86_400.0
DAY_SHAPE_SCALE_SECONDS = 3 * DAY
_EVERY_KIND = np.arange(KINDS)
# the bits of a byte, least significant first, as -1 and 1
_SIGNS = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") - 1.0
_RATES = (("rate_5m", MINUTES_5), ("rate_1h", HOUR), ("rate_1d", DAY))
EVENT_FADING = 0.05  # of statistics per query: about the last 40 queries
PROMPT_FADING = 0.1  # of template share and topic: about the last 20 prompts
OWN_PAST_FADING = 0.02
OWN_PAST_GRACE_EPOCHS = 30
READY_EVENTS = 12


def count_events(rows: NDArray[np.void], segments: Segments, batch: EventBatch) -> None:
    """Totals, times and entitlement: everything that counts even when we limited the answer."""
    first_ts = batch.ts[segments.start]
    last_ts = batch.ts[segments.start + segments.length - 1]
    fresh = rows["events"] == 0
    rows["first_ts"] = np.where(fresh, first_ts, np.minimum(rows["first_ts"], first_ts))
    rows["last_ts"] = np.maximum(rows["last_ts"], last_ts)
    rows["events"] += segments.length.astype(np.uint32)
    rows["output_tokens"] += segments.sum(np.nan_to_num(batch.output_tokens))
    one_hot = np.zeros((len(batch), CAPABILITIES))
    one_hot[np.arange(len(batch)), batch.capability] = 1.0
    rows["capability"] += segments.sum(one_hot)
    for name, values in (("created_at", batch.created_at), ("quota", batch.quota)):
        known = _last_known(segments, np.isfinite(values))
        rows[name] = np.where(known >= 0, values[known], rows[name])
    shown = np.where(batch.values != 0, np.arange(len(batch))[:, None], -1)
    last = np.maximum.reduceat(shown, segments.start, axis=0)
    rows["values"] = np.where(last >= 0, batch.values[last, _EVERY_KIND], rows["values"])
    _learn_address(rows)


def fade(rows: NDArray[np.void], segments: Segments, batch: EventBatch) -> NDArray[np.float64]:
    """Bring decayed counts forward to the newest event of each account and return its time; call first."""
    end = np.maximum(batch.ts[segments.start + segments.length - 1], rows["last_ts"])
    idle = np.where(rows["events"] > 0, end - rows["last_ts"], 0.0)
    for name, scale in _RATES:
        rows[name] *= np.exp(-idle / scale)
    rows["day_shape"] *= np.exp(-idle / DAY_SHAPE_SCALE_SECONDS)[:, None]
    return np.asarray(end)


def learn_behaviour(
    rows: NDArray[np.void],
    private: NDArray[np.void],
    segments: Segments,
    batch: EventBatch,
    end: NDArray[np.float64],
) -> None:
    """Rates, gaps, token shape, day shape and flags from the events that are evidence.

    `rows` are faded to `end` and still hold the previous `last_ts`; call before `count_events`.
    """
    seen = rows["evidence_events"] > 0
    age = end[segments.of] - batch.ts
    for name, scale in _RATES:
        rows[name] += segments.sum(np.exp(-age / scale))
    day_bin = ((batch.ts % DAY) // (DAY / DAY_BINS)).astype(np.int64)
    np.add.at(rows["day_shape"], (segments.of, day_bin), np.exp(-age / DAY_SHAPE_SCALE_SECONDS))

    previous = np.empty(len(batch))
    previous[1:] = batch.ts[:-1]
    previous[segments.start] = np.where(seen, private["evidence_ts"], np.nan)
    newest = batch.ts[segments.start + segments.length - 1]
    private["evidence_ts"] = np.where(seen, np.maximum(private["evidence_ts"], newest), newest)
    gap = np.log(np.maximum(batch.ts - previous, 0.05))
    _fold(rows, private, ("gap_mean", "gap_var", "gaps"), segments, gap)
    _fold(rows, private, ("out_mean", "out_var", "outs"), segments, np.log1p(batch.output_tokens))
    _fold(rows, private, ("in_mean", "in_var", "ins"), segments, np.log1p(batch.input_tokens))

    bits = (batch.flags[:, None] >> np.arange(FLAGS, dtype=np.uint8)) & 1
    rows["flags"] += segments.sum(bits)
    rows["evidence_events"] += segments.length.astype(np.uint32)
    rows["ready"] = rows["evidence_events"] >= READY_EVENTS
    _learn_own_past(rows, private, seen, end)


def learn_prompts(rows: NDArray[np.void], private: NDArray[np.void], of: NDArray[np.int64], batch: EventBatch) -> None:
    """Templates, topic and items from the prompts that are evidence. `of` says which row each event belongs to."""
    has = batch.sketch["exact"] != 0
    if not has.any():
        return
    everything = bool(has.all())
    sketch = batch.sketch if everything else batch.sketch[has]
    segments = Segments.from_sorted(of if everything else of[has])
    touched = (of if everything else of[has])[segments.start]
    some, own = take_rows(rows, touched), take_rows(private, touched)
    shows = learn_templates(
        some["templates"], own["template_counts"], own["bloom"], own["bloom_keys"], segments.of, sketch["keys"]
    )
    newest = sketch["keys"][segments.start + segments.length - 1]
    few = some["prompts"] + segments.length < READY_PROMPTS
    show_newest(some["templates"], own["template_counts"], newest[:, 0], few)
    some["values"][:, Kind.TEMPLATE] = _held(newest, some["templates"])
    seen = some["prompts"] > 0
    zero = np.zeros(len(touched))
    share, _ = ew_fold(
        some["template_share"].astype(np.float64), zero, seen, segments, shows.astype(np.float64), PROMPT_FADING
    )
    some["template_share"] = share
    signs = _SIGNS[sketch["topic"].copy().view(np.uint8)].reshape(-1, TOPIC_BITS)
    first = signs[segments.start]
    signs *= (PROMPT_FADING * (1.0 - PROMPT_FADING) ** segments.after)[:, None]
    fresh = segments.sum(signs)
    keep = ((1.0 - PROMPT_FADING) ** segments.length)[:, None]
    old = np.where(seen[:, None], some["topic"] / 127.0, first)
    some["topic"] = np.rint(127.0 * (fresh + keep * old)).reshape(-1, TOPIC_BITS)
    some["prompts"] += segments.length.astype(np.uint32)
    some["items"] = _smallest_items(some["items"], segments.of, sketch["exact"])
    put_rows(rows, touched, some)
    put_rows(private, touched, own)


def _last_known(segments: Segments, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index of the last known event of each segment, or -1."""
    index = np.where(known, np.arange(len(known)), -1)
    return np.asarray(np.maximum.reduceat(index, segments.start))


def _held(keys: NDArray[np.uint32], templates: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The first of each account's keys that its table of templates holds; 0 where none is."""
    held = (keys[:, :, None] == templates[:, None, :]).any(axis=2) & (keys != 0)
    return np.where(held.any(axis=1), keys[np.arange(len(keys)), held.argmax(axis=1)], np.uint32(0))


def _fold(
    rows: NDArray[np.void],
    private: NDArray[np.void],
    names: tuple[str, str, str],
    segments: Segments,
    values: NDArray[np.float64],
) -> None:
    """Fold one column with gaps (NaN) into its mean, variance and count."""
    known = np.isfinite(values)
    if not known.any():
        return
    mean, var, count = names
    if known.all():
        rows[mean], rows[var] = ew_fold(
            rows[mean].astype(np.float64),
            rows[var].astype(np.float64),
            private[count] > 0,
            segments,
            values,
            EVENT_FADING,
        )
        private[count] += segments.length.astype(np.uint32)
        return
    inner = Segments.from_sorted(segments.of[known])
    where = segments.of[known][inner.start]
    rows[mean][where], rows[var][where] = ew_fold(
        rows[mean][where].astype(np.float64),
        rows[var][where].astype(np.float64),
        private[count][where] > 0,
        inner,
        values[known],
        EVENT_FADING,
    )
    private[count][where] += inner.length.astype(np.uint32)


def _learn_own_past(
    rows: NDArray[np.void], private: NDArray[np.void], seen: NDArray[np.bool_], end: NDArray[np.float64]
) -> None:
    """Score the hourly rate against its own past, then learn it; once an epoch, so that bursts weigh by time.

    What is learned is cut at three standard deviations: a burst cannot teach that bursts are normal.
    """
    value = np.log1p(rows["rate_1h"].astype(np.float64) * np.exp((end - private["evidence_ts"]) / HOUR))
    mean, var = private["own_mean"].astype(np.float64), private["own_var"].astype(np.float64)
    spread = np.sqrt(var + 0.1)
    z = np.where(private["own_count"] >= OWN_PAST_GRACE_EPOCHS, (value - mean) / spread, 0.0)
    rows["own_score"] = z
    base = np.where(seen, mean, value)
    deviation = np.clip(value - base, -3.0 * spread, 3.0 * spread)
    private["own_mean"] = base + OWN_PAST_FADING * deviation
    private["own_var"] = (1.0 - OWN_PAST_FADING) * (np.where(seen, var, 0.0) + OWN_PAST_FADING * deviation**2)
    private["own_count"] += np.uint32(1)


def _learn_address(rows: NDArray[np.void]) -> None:
    """Keep the last few distinct addresses, newest first."""
    newest = rows["values"][:, Kind.ADDRESS]
    known = rows["addresses"]
    place = np.where((known == newest[:, None]).any(axis=1), (known == newest[:, None]).argmax(axis=1), ADDRESS_SLOTS)
    columns = np.arange(ADDRESS_SLOTS)
    shifted = np.concatenate((newest[:, None], known[:, :-1]), axis=1)
    take = (newest != 0)[:, None] & (columns[None, :] <= place[:, None])
    rows["addresses"] = np.where(take, shifted, known)


def _smallest_items(items: NDArray[np.uint32], of: NDArray[np.int64], exact: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Bottom-k sketch of the set of prompts of each account (Cohen and Kaplan 2007); 0 = free.

    Two accounts that work through the same list end up with the same few items; disjoint lists never do.
    """
    accounts = len(items)
    old_of = np.repeat(np.arange(accounts), ITEM_SLOTS)
    old = items.ravel()
    new = np.maximum((exact >> np.uint64(32)).astype(np.uint32), 1)
    owner = np.concatenate((old_of[old != 0], of)).astype(np.uint64)
    pair = np.unique((owner << np.uint64(32)) | np.concatenate((old[old != 0], new)))
    account = (pair >> np.uint64(32)).astype(np.int64)
    segments = Segments.from_sorted(account)
    rank = np.arange(len(pair)) - segments.start[segments.of]
    keep = rank < ITEM_SLOTS
    result = np.zeros((accounts, ITEM_SLOTS), np.uint32)
    result[account[keep], rank[keep]] = (pair[keep] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return result
