"""From columns to records as a gateway would publish them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stream_guard.simulate.grammar import mix, mix_all
from stream_guard.simulate.model import CAPABILITIES, FLAGS, MODELS, Block, Record
from stream_guard.simulate.places import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stream_guard.simulate.model import Account
    from stream_guard.simulate.world import World

_CHUNK: Final = 20_000
_FLAG_LISTS: Final = [[name for bit, name in enumerate(FLAGS) if code >> bit & 1] for code in range(1 << len(FLAGS))]


def _fixed_part(account: Account) -> Record:
    """Give the fields that every record of an account repeats, without those that are unknown."""
    names = (
        "account_id",
        "org_id",
        "api_key_id",
        "plan",
        "quota_per_day",
        "credit_program",
        "payment_fp",
        "email_class",
        "access_path",
    )
    record: Record = {name: getattr(account, name) for name in names}
    record["account_created_at"] = account.created_at
    return {name: value for name, value in record.items() if value is not None}


def _address_parts(world: World) -> list[Record]:
    return [
        {"ip": address.ip, "asn": address.asn, "asn_class": address.asn_class, "country": address.country}
        for address in world.network.addresses
    ]


def _client_parts(world: World) -> list[Record]:
    return [
        {"tls_fp": client.tls_fp, "header_fp": client.header_fp, "user_agent": client.user_agent}
        for client in world.clients
    ]


def query_records(world: World, block: Block) -> Iterator[Record]:
    """Render events.

    Args:
        world: tables that indices point into.
        block: events sorted by time.

    Yields:
        One record per event.
    """
    fixed: dict[int, Record] = {}
    addresses, clients = _address_parts(world), _client_parts(world)
    sources, systems = world.book.sources, world.systems
    base = mix(world.options.seed) ^ 0xE7E47
    for begin in range(0, len(block), _CHUNK):
        numbers = np.arange(begin, min(begin + _CHUNK, len(block)))
        chunk = block.take(numbers)
        columns = [getattr(chunk, name) for name in Block.__dataclass_fields__]
        columns += [mix_all(numbers.astype(np.uint64) + np.uint64(base)), mix_all(chunk.session.astype(np.uint64))]
        rows: Any = zip(*(column.tolist() for column in columns), strict=True)
        for row in rows:
            (ts, account, _, address, client, model, capability, language, source, key, tokens_in, tokens_out,
             max_tokens, tools, system, status, latency, flags, event, session) = row  # fmt: skip
            known = fixed.get(account)
            if known is None:
                known = fixed[account] = _fixed_part(world.accounts[account])
            record = {
                "type": "query",
                "event_id": f"evt_{event:016x}",
                "ts": ts,
                **known,
                "session_id": f"ses_{session >> 16:012x}",
                **addresses[address],
                **clients[client],
                "model": MODELS[model],
                "capability": CAPABILITIES[capability],
                "language": LANGUAGES[language],
                "prompt": sources[source].render(key),
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
                "tools": tools,
                "status": status,
                "latency_ms": latency,
            }
            if max_tokens >= 0:
                record["max_tokens"] = max_tokens
            if system >= 0:
                record["system_prompt_fp"] = systems[system]
            if flags:
                record["flags"] = _FLAG_LISTS[flags]
            yield record


def all_records(world: World, block: Block) -> Iterator[Record]:
    """Render events and the notes between them (bans, releases), sorted by time.

    Args:
        world: tables and notes.
        block: events sorted by time.

    Yields:
        Records.
    """
    notes = sorted(world.notes, key=lambda note: (note["ts"], note["type"], note.get("account_id", "")))
    queries = query_records(world, block)
    done = 0
    for place, note in zip(np.searchsorted(block.ts, [note["ts"] for note in notes]).tolist(), notes, strict=True):
        yield from islice(queries, place - done)
        yield note
        done = place
    yield from queries
