"""However the same events are cut, permuted within the lateness or repeated: the same bits."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import stats

from stream_guard.accounts import AccountsStage
from stream_guard.accounts.packing import PRIVATE, pack, unpack
from stream_guard.accounts.segments import Segments, ew_fold
from stream_guard.policy import Epochs
from stream_guard.records import ROW
from tests.support.events import START, batch_of, record

if TYPE_CHECKING:
    from collections.abc import Sequence

EPOCHS = Epochs(epoch_seconds=60.0, allowed_lateness_seconds=30.0, evaluate_seconds=600.0)
PROMPTS = ("one two three four five six seven eight", "nine ten eleven twelve thirteen fourteen", None)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[float, bytes]]:
    """Records in order of time: few accounts, gaps from nothing to minutes, everything else at random."""
    number = draw(st.integers(1, 40))
    ts = START
    made = []
    for position in range(number):
        ts += draw(st.sampled_from((0.0, 0.25, 3.0, 20.0, 61.0, 200.0, 100_000.0)))
        account = draw(st.sampled_from(("ann", "bob", "cat")))
        fields = {
            "output_tokens": draw(st.sampled_from((None, 0, 10, 12_345))),
            "flags": draw(st.sampled_from(([], ["refusal"], ["cot_elicitation"]))),
            "capability": draw(st.sampled_from(("coding", "chat", None))),
            "prompt": draw(st.sampled_from(PROMPTS)),
            "ip": draw(st.sampled_from(("10.0.0.1", "10.0.1.1", None))),
        }
        if draw(st.integers(0, 9)) == 0:
            fields["limited_by"] = "dec_1"
        shown = {name: value for name, value in fields.items() if value is not None}
        made.append((ts, record(account, ts, f"e{position}", **shown)))
    return made


def run_with_evictions(records: Sequence[bytes], cuts: Sequence[int], most: int) -> dict[bytes, bytes]:
    """After every batch everything is stored, and accounts above `most` go; all states in the end."""
    stage, stored = AccountsStage(0, EPOCHS), dict[bytes, bytes]()
    edges = [0, *sorted(cut % (len(records) + 1) for cut in cuts), len(records)]
    for first, last in pairwise(edges):
        batch = batch_of(records[first:last])
        assert stage.load({key: stored[key] for key in stage.unknown(batch.key) if key in stored}) == 0
        stage.add(batch, np.arange(first, last))
        stage.close_due()
        stored |= stage.table.dump(stage.dirty)
        stage.dirty.clear()
        stage.evict(most)
    stage.close_idle(stage.watermark + EPOCHS.epoch_seconds)
    return stored | stage.table.dump(stage.dirty)


def run(records: Sequence[bytes], cuts: Sequence[int]) -> AccountsStage:
    stage = AccountsStage(0, EPOCHS)
    edges = [0, *sorted(cut % (len(records) + 1) for cut in cuts), len(records)]
    for first, last in pairwise(edges):
        stage.add(batch_of(records[first:last]), np.arange(first, last))
        stage.close_due()
    stage.close_idle(stage.watermark + EPOCHS.epoch_seconds)
    return stage


def states(stage: AccountsStage) -> dict[bytes, bytes]:
    return stage.table.dump(range(len(stage.table)))


@settings(max_examples=25, deadline=None)
@given(streams(), st.lists(st.integers(0, 1_000), max_size=8))
def test_how_events_are_cut_into_batches_changes_no_bit(stream: list[tuple[float, bytes]], cuts: list[int]) -> None:
    records = [value for _, value in stream]
    assert states(run(records, cuts)) == states(run(records, []))


@settings(max_examples=25, deadline=None)
@given(streams(), st.lists(st.integers(0, 1_000), max_size=8), st.randoms(use_true_random=False))
def test_order_within_the_lateness_changes_no_bit(
    stream: list[tuple[float, bytes]], cuts: list[int], random: object
) -> None:
    jitter = {value: ts + random.uniform(0.0, 29.0) for ts, value in stream}  # type: ignore[attr-defined] # a Random
    shuffled = sorted((value for _, value in stream), key=jitter.__getitem__)
    stage = run(shuffled, cuts)
    assert states(stage) == states(run([value for _, value in stream], []))
    assert stage.late == 0


@settings(max_examples=50, deadline=None)
@given(streams(), st.lists(st.integers(0, 1_000), max_size=8), st.data())
def test_also_with_late_events_how_they_are_cut_into_batches_changes_no_bit(
    stream: list[tuple[float, bytes]], cuts: list[int], data: st.DataObject
) -> None:
    delays = data.draw(st.lists(st.sampled_from((0.0, 0.0, 45.0, 500.0)), min_size=len(stream), max_size=len(stream)))
    arrivals = sorted((ts + delay, at) for at, ((ts, _), delay) in enumerate(zip(stream, delays, strict=True)))
    records = [stream[at][1] for _, at in arrivals]
    stage = run(records, cuts)
    assert states(stage) == states(run(records, [])) == states(run(records, range(len(records))))
    assert stage.late == run(records, []).late


@settings(max_examples=25, deadline=None)
@given(streams(), st.lists(st.integers(0, 1_000), max_size=5), st.data())
def test_a_record_that_comes_again_inside_the_window_counts_once_also_in_a_later_epoch(
    stream: list[tuple[float, bytes]], cuts: list[int], data: st.DataObject
) -> None:
    records = [value for _, value in stream]
    arrivals = [(ts, position, value) for position, (ts, value) in enumerate(stream)]
    for position in data.draw(st.lists(st.integers(0, len(records) - 1), max_size=10)):
        delay = data.draw(st.sampled_from((0.0, 10.0, 100.0, 400.0)))
        arrivals.append((stream[position][0] + delay, len(arrivals), records[position]))
    again = [value for _, _, value in sorted(arrivals)]
    repeated, plain = run(again, cuts), run(records, [])
    assert repeated.table.rows["events"].sum() == plain.table.rows["events"].sum() == len(records)
    assert states(repeated) == states(plain)


@settings(max_examples=25, deadline=None)
@given(streams(), st.integers(0, 40), st.integers(1, 9))
def test_an_account_that_was_stored_and_loaded_goes_on_with_the_same_bits(
    stream: list[tuple[float, bytes]], cut: int, batch: int
) -> None:
    records = [value for _, value in stream]
    cut = min(cut, len(records))
    expected = run(records, [cut])
    first = AccountsStage(0, EPOCHS)
    first.add(batch_of(records[:cut]), np.arange(cut))
    first.close_due()
    second = AccountsStage(0, EPOCHS)
    assert second.load(states(first)) == 0
    second.resume(first.closed_epoch, first.zones(cut), first.late_waiting(cut))
    second.watermark = first.watermark
    start = cut if first.first_waiting_offset is None else first.first_waiting_offset
    for position in range(start, len(records), batch):
        part = records[position : position + batch]
        second.add(batch_of(part), np.arange(position, position + len(part)))
        second.close_due()
    second.close_idle(second.watermark + EPOCHS.epoch_seconds)
    assert states(second) == states(expected)


@settings(max_examples=50, deadline=None)
@given(streams(), st.lists(st.integers(0, 1_000), max_size=12), st.integers(0, 2))
def test_accounts_that_leave_the_memory_and_come_back_go_on_with_the_same_bits(
    stream: list[tuple[float, bytes]], cuts: list[int], most: int
) -> None:
    records = [value for _, value in stream]
    assert run_with_evictions(records, cuts, most) == states(run(records, cuts))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=ROW.itemsize + PRIVATE.itemsize, max_size=ROW.itemsize + PRIVATE.itemsize)))
def test_packing_loses_no_bit_of_whatever_a_row_holds(contents: list[bytes]) -> None:
    rows = np.frombuffer(b"".join(content[: ROW.itemsize] for content in contents), ROW).copy()
    private = np.frombuffer(b"".join(content[ROW.itemsize :] for content in contents), PRIVATE).copy()
    rows["account"] = 0
    rows["topic"] = np.maximum(rows["topic"], -127)
    found_rows, found_private, good = unpack(pack(rows, private))
    assert good.all()
    assert found_rows.tobytes() == rows.tobytes()
    assert found_private.tobytes() == private.tobytes()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=700))
def test_bytes_that_nobody_packed_are_refused_or_read_and_nothing_else(data: bytes) -> None:
    rows, private, good = unpack([data, b"", data])
    assert good.tolist() == [good[0], False, good[0]]
    if good[0]:
        assert pack(rows[:1], private[:1])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(-1e6, 1e6)), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=5),
    st.sampled_from((0.02, 0.05, 0.5)),
)
def test_folding_any_cut_of_a_stream_gives_rivers_numbers(
    values: list[tuple[int, float]], cuts: list[int], fading: float
) -> None:
    mean, var, seen = np.zeros(4), np.zeros(4), np.zeros(4, np.bool_)
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    for first, last in pairwise(edges):
        part = sorted(values[first:last], key=lambda item: item[0])
        if not part:
            continue
        ids = np.array([account for account, _ in part])
        segments = Segments.from_sorted(ids)
        touched = ids[segments.start]
        mean[touched], var[touched] = ew_fold(
            mean[touched], var[touched], seen[touched], segments, np.array([value for _, value in part]), fading
        )
        seen[touched] = True
    for account in {account for account, _ in values}:
        means, variances = stats.EWMean(fading), stats.EWVar(fading)
        for owner, value in values:
            if owner == account:
                means.update(value)
                variances.update(value)
        largest = max(abs(value) for owner, value in values if owner == account)
        assert mean[account] == pytest.approx(means.get(), rel=1e-9, abs=1e-9 * largest)
        assert var[account] == pytest.approx(variances.get(), rel=1e-6, abs=1e-9 * largest**2 + 1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(("ann", "bob", "cat")), max_size=60), st.integers(1, 7))
def test_segments_are_the_runs_of_a_sorted_column(keys: list[str], scale: int) -> None:
    ids = np.sort(np.array([scale * ord(key[0]) for key in keys], np.int64))
    segments = Segments.from_sorted(ids)
    counted = Counter(ids.tolist())
    assert segments.length.tolist() == [counted[value] for value in sorted(counted)]
    assert segments.sum(np.ones(len(ids))).tolist() == segments.length.tolist()
    assert (segments.after[segments.start] == segments.length - 1).all()
