"""Whatever the order between sources, whatever comes twice, wherever the receiver stops: the same epochs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_guard.nodes.align import Aligner
from stream_guard.nodes.wire import Part

Released = list[tuple[int, list[tuple[int, bytes]]]]


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, list[Part]]:
    """Sources that report some epochs each, the last one all, in 1 to 3 parts; interleaved at random."""
    sources = draw(st.integers(1, 3))
    queues: list[list[Part]] = []
    for source in range(sources):
        epochs = [*draw(st.sets(st.integers(0, 7), max_size=5).map(sorted)), 8]
        queues.append(
            [
                Part(source, epoch, part, parts, b"%d/%d/%d;" % (source, epoch, part))
                for epoch in epochs
                for parts in (draw(st.integers(1, 3)),)
                for part in range(parts)
            ]
        )
    order = []
    while any(queues):
        chosen = draw(st.sampled_from([number for number, queue in enumerate(queues) if queue]))
        order.append(queues[chosen].pop(0))
    return sources, order


def straight(sources: int, parts: list[Part]) -> Released:
    aligner = Aligner(sources)
    for offset, part in enumerate(sorted(parts, key=lambda part: (part.epoch, part.source, part.part))):
        aligner.offer(offset, part)
    return new_only(aligner)


def new_only(aligner: Aligner) -> Released:
    """What is handed on, without what had been handed on before."""
    return [
        (epoch, [(bundle.source, bundle.data) for bundle in bundles if bundle.epoch == epoch])
        for epoch, bundles in aligner.ready()
    ]


@settings(max_examples=80, deadline=None)
@given(plans())
def test_any_interleaving_of_the_sources_gives_the_same_epochs(plan: tuple[int, list[Part]]) -> None:
    sources, parts = plan
    aligner = Aligner(sources)
    released: Released = []
    for offset, part in enumerate(parts):
        aligner.offer(offset, part)
        released += new_only(aligner)
    assert released == straight(sources, parts)
    assert aligner.waiting == 0
    assert aligner.resume_offset == len(parts)


@settings(max_examples=80, deadline=None)
@given(plans(), st.data())
def test_a_sender_that_starts_again_from_an_earlier_epoch_changes_nothing(
    plan: tuple[int, list[Part]], data: st.DataObject
) -> None:
    sources, parts = plan
    sent = list(parts)
    for _ in range(data.draw(st.integers(0, 3))):
        source = data.draw(st.integers(0, sources - 1))
        at = data.draw(st.integers(0, len(sent)))
        before = [part for part in sent[:at] if part.source == source]
        back = data.draw(st.integers(0, 8))
        # What it had sent from epoch `back` on comes again, its last bundle perhaps cut short the first time.
        repeated = dict.fromkeys(part for part in before if part.epoch >= back)
        sent[at:at] = sorted(repeated, key=lambda part: (part.epoch, part.part))
    aligner = Aligner(sources)
    released: Released = []
    for offset, part in enumerate(sent):
        aligner.offer(offset, part)
        released += new_only(aligner)
    assert released == straight(sources, parts)


@settings(max_examples=80, deadline=None)
@given(plans(), st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.booleans()), max_size=12))
def test_a_receiver_that_crashes_goes_on_with_the_same_epochs(
    plan: tuple[int, list[Part]], fates: list[tuple[int, bool, bool]]
) -> None:
    sources, parts = plan
    aligner, offset = Aligner(sources), 0
    released: dict[int, list[tuple[int, bytes]]] = {}
    saved, resume, kept = aligner.dump(), 0, dict(released)
    for count, saves, crashes in [*fates, (len(parts), False, False)]:
        for part in parts[offset : offset + count]:
            aligner.offer(offset, part)
            offset += 1
            released.update(new_only(aligner))
        if saves:
            saved, resume, kept = aligner.dump(), aligner.resume_offset or 0, dict(released)
        if crashes:
            aligner, offset, released = Aligner(sources), resume, dict(kept)
            aligner.load(saved)
    for part in parts[offset:]:
        aligner.offer(offset, part)
        offset += 1
        released.update(new_only(aligner))
    assert sorted(released.items()) == straight(sources, parts)


def test_nothing_is_handed_on_before_every_source_has_passed_the_epoch() -> None:
    aligner = Aligner(2)
    aligner.offer(0, Part(0, 3, 0, 1, b"a"))
    aligner.offer(1, Part(1, 2, 0, 1, b"b"))
    assert [epoch for epoch, _ in aligner.ready()] == [2]
    assert aligner.resume_offset == 0
    aligner.offer(2, Part(1, 5, 0, 1, b"c"))
    assert [epoch for epoch, _ in aligner.ready()] == [3]


def test_an_old_bundle_goes_along_with_the_next_epoch_and_causes_none_of_its_own() -> None:
    aligner = Aligner(1)
    aligner.offer(0, Part(0, 4, 0, 1, b"first"))
    assert len(aligner.ready()) == 1
    aligner.offer(1, Part(0, 4, 0, 1, b"again"))
    assert aligner.ready() == []
    assert aligner.resume_offset == 1
    aligner.offer(2, Part(0, 9, 0, 1, b"next"))
    ((epoch, bundles),) = aligner.ready()
    assert (epoch, [(bundle.epoch, bundle.data) for bundle in bundles]) == (9, [(4, b"again"), (9, b"next")])


def test_a_bundle_that_was_cut_short_holds_reading_back_only_until_its_source_goes_on() -> None:
    aligner = Aligner(1)
    aligner.offer(0, Part(0, 1, 0, 2, b"half"))
    assert aligner.resume_offset == 0
    aligner.offer(1, Part(0, 2, 0, 1, b"next"))
    aligner.ready()
    assert aligner.resume_offset == 2
    assert aligner.waiting == 0
