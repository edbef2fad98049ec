"""The product as its next release might be: every stored form has the next version, and the present one is read too.

`python -m tests.support.next_version_worker`, settings from the environment. What travels between the stages keeps its
version: a release that changes it has to read the new form one release before it writes it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from stream_guard.accounts import table
from stream_guard.app.main import main
from stream_guard.campaigns import CampaignsStage
from stream_guard.campaigns import stage as campaigns_stage
from stream_guard.clusters import ClustersStage, rows
from stream_guard.clusters import stage as clusters_stage
from stream_guard.desk import BOOKS_KEY, Desk
from stream_guard.nodes import AccountsNode, accounts_node, align

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NEXT = 2


def mapped(data: bytes, before: int = NEXT - 1, after: int = NEXT) -> bytes:
    """A state of one version as one of another; anything else as it is."""
    try:
        state = msgspec.msgpack.decode(data, strict=False)
    except (msgspec.DecodeError, ValueError):
        return data
    if isinstance(state, dict) and state.get("version") == before:
        return msgspec.msgpack.encode({**state, "version": after})
    if isinstance(state, list) and state and state[0] == before:
        return msgspec.msgpack.encode([after, *state[1:]])
    return data


def mapped_back(data: bytes) -> bytes:
    """A state of the next version as one of the present."""
    return mapped(data, NEXT, NEXT - 1)


def reading_both(load: Callable[..., Any]) -> Callable[..., Any]:
    """A loader, whose last argument is the state, that maps first."""
    return lambda *arguments: load(*arguments[:-1], mapped(arguments[-1]))


def upgrade() -> None:
    """Give every stored form its next version, with a mapper from the present one."""
    for module in (table, rows, clusters_stage, campaigns_stage):
        vars(module)["STATE_VERSION"] = NEXT
    vars(sys.modules[Desk.__module__])["STATE_VERSION"] = NEXT
    vars(align)["META_VERSION"] = vars(accounts_node)["META_VERSION"] = NEXT
    vars(accounts_node)["load_events"] = reading_both(table.load_events)
    for owner, name in (
        (ClustersStage, "load_models"),
        (ClustersStage, "load_population"),
        (CampaignsStage, "load"),
        (align.Aligner, "load"),
    ):
        setattr(owner, name, reading_both(getattr(owner, name)))
    restore, load, load_accounts = AccountsNode.restore, Desk.load, table.AccountTable.load
    load_rows = rows.RowStore.load

    def restore_both(node: AccountsNode, meta: bytes | None, states: Mapping[bytes, bytes]) -> None:
        restore(node, None if meta is None else mapped(meta), states)

    def load_both(desk: Desk, states: Iterable[tuple[bytes, bytes]]) -> None:
        load(desk, [(key, mapped(data) if key == BOOKS_KEY else data) for key, data in states])

    def load_accounts_both(accounts: table.AccountTable, states: Mapping[bytes, bytes]) -> int:
        return load_accounts(accounts, {key: mapped(data) for key, data in states.items()})

    def load_rows_both(store: rows.RowStore, states: Iterable[bytes]) -> int:
        return load_rows(store, map(mapped, states))

    for whose, what, function in (
        (AccountsNode, "restore", restore_both),
        (Desk, "load", load_both),
        (table.AccountTable, "load", load_accounts_both),
        (rows.RowStore, "load", load_rows_both),
    ):
        setattr(whose, what, function)


if __name__ == "__main__":
    upgrade()
    sys.exit(main())
