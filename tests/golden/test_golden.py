"""Every stored form of every released version still loads; an unknown version never does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stream_guard.accounts.table import AccountTable, dump_events, load_events
from stream_guard.campaigns import CampaignsStage
from stream_guard.clusters import ClustersStage
from stream_guard.clusters.rows import RowStore
from stream_guard.desk import BOOKS_KEY, Desk
from stream_guard.encode import (
    encode_alert,
    encode_campaign,
    encode_decision,
    parse_alert,
    parse_campaign,
    parse_decision,
)
from stream_guard.errors import StateError
from stream_guard.nodes.align import Aligner
from stream_guard.nodes.wire import decode_deltas, decode_part, decode_suspicions
from stream_guard.pipeline import accounts_node
from stream_guard.policy import Policy
from tests.golden.make import VERSION, states
from tests.support.events import START, record
from tests.support.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
VERSIONS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and path.name.startswith("v"))
STORED = sorted(path for version in VERSIONS for path in (FOLDER / version).iterdir())
POLICY = Policy()


@dataclass(frozen=True)
class Form:
    """How a stored form is read, and written again where that must give the same bytes."""

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes] | None


def _account(data: bytes) -> AccountTable:
    table = AccountTable()
    if table.load({b"aacme-1": data}):
        raise StateError("cold")
    return table


def _row(data: bytes) -> RowStore:
    store = RowStore(1_000)
    if store.load([data]):
        raise StateError("cold")
    return store


def _models(data: bytes) -> ClustersStage:
    stage = ClustersStage(0, 1, POLICY)
    stage.load_models(data)
    return stage


def _population(data: bytes) -> ClustersStage:
    stage = ClustersStage(0, 1, POLICY)
    stage.load_population("default", data)
    return stage


def _sources(data: bytes) -> Aligner:
    aligner = Aligner(1)
    aligner.load(data)
    return aligner


def _campaign(data: bytes) -> CampaignsStage:
    stage = CampaignsStage(POLICY)
    stage.load(data)
    return stage


def _books(data: bytes) -> Desk:
    desk = Desk(POLICY)
    desk.load([(BOOKS_KEY, data)])
    return desk


def _deltas(data: bytes) -> Any:  # noqa: ANN401 # a bundle
    part = decode_part(data, 1)
    return decode_deltas(part.source, part.epoch, part.data)


def _suspicions(data: bytes) -> Any:  # noqa: ANN401 # a bundle
    part = decode_part(data, 1)
    return decode_suspicions(part.source, part.epoch, part.data)


def _accounts_meta(data: bytes) -> Any:  # noqa: ANN401 # a node
    node = accounts_node(0, policy=POLICY, cluster_partitions=1)
    node.restore(data, {})
    if node._cold_starts:
        raise StateError("cold")
    return node


def _one(found: dict[bytes, Any]) -> bytes:
    (state,) = found.values()
    assert isinstance(state, bytes)
    return state


FORMS: dict[str, Form] = {
    "account.msgpack": Form(_account, lambda table: _one(table.dump([0]))),
    "counted_events.msgpack": Form(load_events, dump_events),
    "accounts_meta.msgpack": Form(_accounts_meta, None),
    "cluster_row.msgpack": Form(_row, lambda store: _one(store.dump([0]))),
    "cluster_models.msgpack": Form(_models, None),  # a new signal starts cold and is written from then on
    "population.msgpack": Form(_population, lambda stage: stage.dump_population("default")),
    "sources_meta.msgpack": Form(_sources, lambda aligner: aligner.dump()),
    "campaign.msgpack": Form(_campaign, lambda stage: _one(stage.dump(stage.ledgers))),
    "books.msgpack": Form(_books, lambda desk: desk.dump()[BOOKS_KEY]),
    "delta_part.msgpack": Form(_deltas, None),  # compression may find better bytes tomorrow
    "suspicion_part.msgpack": Form(_suspicions, None),
    "alert.json": Form(parse_alert, encode_alert),
    "decision.json": Form(parse_decision, encode_decision),
    "campaign.json": Form(parse_campaign, encode_campaign),
}
PACKED = sorted(name for name in FORMS if name.endswith(".msgpack"))


def bumped(data: bytes) -> bytes:
    """The same state under a version that nobody knows."""
    state = msgspec.msgpack.decode(data)
    if isinstance(state, dict):
        return msgspec.msgpack.encode({**state, "version": 99})
    return msgspec.msgpack.encode([99, *state[1:]])


def test_every_stored_form_has_a_golden_file() -> None:
    assert set(states()) == set(FORMS)
    assert VERSION in VERSIONS
    assert {path.name for path in (FOLDER / VERSION).iterdir()} == set(FORMS)


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_released_states_load(path: Path) -> None:
    FORMS[path.name].read(path.read_bytes())


@pytest.mark.parametrize("name", sorted(name for name, form in FORMS.items() if form.write is not None))
def test_the_present_version_writes_what_it_read(name: str) -> None:
    """Whoever changes what is stored must give it a new version, and new golden files."""
    data = (FOLDER / VERSION / name).read_bytes()
    form = FORMS[name]
    assert form.write is not None
    assert form.write(form.read(data)) == data


def test_what_was_learned_is_in_the_models_again() -> None:
    data = (FOLDER / VERSION / "cluster_models.msgpack").read_bytes()
    stored = msgspec.msgpack.decode(data, strict=False)["tenants"]["default"]
    models = _models(data)._tenants["default"]
    for signal in models.signals:
        assert signal.dump() == stored["signals"].get(signal.name, signal.clone().dump())
    assert models.forest.dump() == stored["forest"]


@pytest.mark.parametrize("name", PACKED)
def test_an_unknown_version_is_refused(name: str) -> None:
    data = (FOLDER / VERSION / name).read_bytes()
    FORMS[name].read(data)
    with pytest.raises(StateError):
        FORMS[name].read(bumped(data))


@pytest.mark.parametrize("name", PACKED)
def test_cut_off_bytes_are_refused(name: str) -> None:
    data = (FOLDER / VERSION / name).read_bytes()
    for length in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(StateError):
            FORMS[name].read(data[:length])


def test_a_node_starts_cold_from_unknown_versions_and_counts_them() -> None:
    network = Network(POLICY, 1, 1)
    network.publish([("a", record("a", START, "1")), ("a", record("a", START + 90.0, "2"))])
    network.finish(START + 300.0)
    network.counts.clear()
    expected = 0
    for name in network.names:
        network.meta[name] = bumped(network.meta[name])
        packed = {key: state for key, state in network.stored[name].items() if key[:1] != b"n"}
        network.stored[name] = {key: bumped(state) for key, state in packed.items()}
        network.crash(name)
        known_on_demand = {key for key in packed if name == "accounts:0" and key[:1] == b"d"}  # named by the lost meta
        expected += 1 + len(packed) - len(known_on_demand)
    network.publish([("a", record("a", START + 400.0, "3"))])
    network.finish(START + 600.0)
    assert network.counts["cold_starts"] == expected
