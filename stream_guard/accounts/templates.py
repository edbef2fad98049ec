"""Which prompt keys recur in an account: a small heavy-hitter table behind a Bloom filter.

A key that is seen once goes into the filter; seen again it earns a place in the table, replacing the least counted.
So a template, a prefix or an injected suffix shows after two prompts, and unrelated prompts leave no trace but for the
first few, of which the newest shows.
After Metwally et al., "Efficient computation of frequent and top-k elements in data streams", 2005, with a filter
in front. Cost: O(keys log keys) a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.accounts.packing import BLOOM_BYTES
from stream_guard.records import SKETCH_KEYS, TEMPLATE_SLOTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = BLOOM_BYTES * 8
_BLOOM_CAPACITY = _BITS // 6  # one hash function: at most about 15 % false positives
_MOST_COUNTED = 64  # a template that was left behind must be able to make room


def learn_templates(  # noqa: PLR0913, PLR0917 - a kernel over columns; each column is an argument
    templates: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    bloom: NDArray[np.uint8],
    bloom_keys: NDArray[np.uint32],
    of: NDArray[np.int64],
    keys: NDArray[np.uint32],
) -> NDArray[np.bool_]:
    """Update the tables of the accounts in a batch in place.

    Args:
        templates: (accounts, TEMPLATE_SLOTS) keys; 0 = free.
        counts: (accounts, TEMPLATE_SLOTS) how often each was seen.
        bloom: (accounts, BLOOM_BYTES) filter of keys seen once.
        bloom_keys: (accounts,) keys in the filter.
        of: (prompts,) which account each prompt belongs to, ascending.
        keys: (prompts, SKETCH_KEYS) keys of each prompt; 0 = none.

    Returns:
        (prompts,) whether the prompt shows a key that its account's table holds afterwards.
    """
    full = bloom_keys >= _BLOOM_CAPACITY
    bloom[full] = 0
    bloom_keys[full] = 0

    owner = np.repeat(of, SKETCH_KEYS)
    flat = keys.ravel()
    used = flat != 0
    pair = (owner[used].astype(np.uint64) << np.uint64(32)) | flat[used]
    unique, first, times = np.unique(pair, return_index=True, return_counts=True)
    order = np.argsort(first, kind="stable")  # as they came
    unique, times = unique[order], times[order]
    account = (unique >> np.uint64(32)).astype(np.int64)
    key = (unique & np.uint64(0xFFFFFFFF)).astype(np.uint32)

    hit = templates[account] == key[:, None]
    known = hit.any(axis=1)
    np.add.at(counts, (account[known], hit[known].argmax(axis=1)), times[known].astype(np.uint32))

    account, key, times = account[~known], key[~known], times[~known]
    bit = (key * np.uint32(2654435761)) >> np.uint32(32 - (_BITS - 1).bit_length())
    byte, mask = (bit >> np.uint32(3)).astype(np.int64), (np.uint8(1) << (bit & np.uint32(7)).astype(np.uint8))
    seen = (bloom[account, byte] & mask) != 0
    np.bitwise_or.at(bloom, (account, byte), mask)
    np.add.at(bloom_keys, account, (~seen).astype(np.uint32))

    np.minimum(counts, _MOST_COUNTED, out=counts)

    recurring = seen | (times > 1)
    _insert(templates, counts, account[recurring], key[recurring], (times + seen)[recurring].astype(np.uint32))
    return np.asarray((keys[:, :, None] == templates[of][:, None, :]).any(axis=(1, 2), where=keys[:, :, None] != 0))


def show_newest(
    templates: NDArray[np.uint32], counts: NDArray[np.uint32], newest: NDArray[np.uint32], few: NDArray[np.bool_]
) -> None:
    """Let accounts that asked little, and in which nothing recurs yet, show the first key of their newest prompt.

    So a template shows where thousands of accounts ask once each. The key stands in the first slot and is not counted;
    it makes room for the first one that recurs.

    Args:
        templates: (accounts, TEMPLATE_SLOTS) keys, changed in place; 0 = free.
        counts: (accounts, TEMPLATE_SLOTS) how often each was seen.
        newest: (accounts,) first key of the newest prompt; 0 = none.
        few: (accounts,) which of them asked little; the others show no such key.
    """
    nothing = ~counts.any(axis=1)
    templates[nothing, 0] = np.where(few, newest, np.uint32(0))[nothing]


def _insert(
    templates: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    account: NDArray[np.int64],
    key: NDArray[np.uint32],
    times: NDArray[np.uint32],
) -> None:
    """Put new keys in place of the least counted, at most TEMPLATE_SLOTS an account and batch, most counted first."""
    order = np.lexsort((-times.astype(np.int64), account))
    account, key, times = account[order], key[order], times[order]
    start = np.flatnonzero(np.concatenate(([True], account[1:] != account[:-1]))) if len(account) else np.zeros(0, int)
    rank = np.arange(len(account)) - np.repeat(start, np.diff(np.append(start, len(account))))
    for place in range(min(TEMPLATE_SLOTS, int(rank.max(initial=-1)) + 1)):
        now = rank == place
        who = account[now]
        slot = counts[who].argmin(axis=1)
        better = counts[who, slot] <= times[now]  # ties go to the newer key, so old templates fade
        templates[who[better], slot[better]] = key[now][better]
        counts[who[better], slot[better]] = times[now][better]
        worse = who[~better], slot[~better]
        counts[worse] -= np.uint32(1)  # a table full of stale keys yields to a persistent newcomer
