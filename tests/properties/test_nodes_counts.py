"""One accounts node that may crash at any moment, fed with events early, late, twice and out of order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_guard.accounts.table import AccountTable, account_hash
from stream_guard.policy import Epochs, Policy
from stream_guard.ports import Topic
from tests.support.events import START, record
from tests.support.network import Network

NO_WINDOW = Policy(
    epochs=Epochs(epoch_seconds=60.0, allowed_lateness_seconds=5.0, evaluate_seconds=600.0, duplicate_window_events=0)
)
FATES = st.sampled_from(("save", "crash", "save and crash", "idle", ""))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-400, 1_500)), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(1, 9), FATES), max_size=25),
)
def test_every_event_counts_once_whenever_the_node_crashes(
    events: list[tuple[str, int]], fates: list[tuple[int, str]]
) -> None:
    """Without a window for duplicates: nothing but positions protects the counts."""
    network = Network(NO_WINDOW, 1, 1)
    network.publish(
        (account, record(account, START + shift, f"e{number}", output_tokens=1))
        for number, (account, shift) in enumerate(events)
    )
    name = "accounts:0"
    for most, fate in fates:
        network.step(name, most)
        if fate == "idle":
            network.nodes[name].idle(START + 300.0)
        if "save" in fate:
            network.checkpoint(name)
        if "crash" in fate:
            network.crash(name)
    while network.step(name, 7):
        pass
    network.nodes[name].idle(START + 3_000.0)
    network.checkpoint(name)
    table = AccountTable()
    table.load({key: state for key, state in network.stored[name].items() if key[:1] == b"a"})
    counted = dict(zip(table.rows["account"].tolist(), table.rows["events"].tolist(), strict=True))
    for account in {account for account, _ in events}:
        assert counted[account_hash(account)] == sum(owner == account for owner, _ in events)


def test_a_checkpoint_before_anything_was_read_keeps_the_duplicate_window() -> None:
    network = Network(Policy(), 1, 1)
    first = [record("a", START + 1.0, "once")]
    network.publish(("a", value) for value in [*first, record("a", START + 70.0, "moves time on")])
    network.drain()
    network.checkpoint("accounts:0")
    network.crash("accounts:0")
    network.nodes["accounts:0"].idle(START + 60.0)
    network.checkpoint("accounts:0")
    network.crash("accounts:0")
    network.publish(("a", value) for value in first)
    network.step("accounts:0", 9)
    network.nodes["accounts:0"].idle(START + 300.0)
    assert len(network.logs[Topic.QUERIES, 0]) == 3
    network.checkpoint("accounts:0")
    table = AccountTable()
    table.load({b"aa": network.stored["accounts:0"][b"aa"]})
    assert table.rows["events"][0] == 2
