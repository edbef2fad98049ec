"""What has just become suspicious is judged again halfway to the next evaluation."""

from __future__ import annotations

from stream_guard.clusters import ClustersStage
from stream_guard.policy import Policy
from stream_guard.records import Kind
from tests.support.events import START, delta, honest_rows, later, pool_rows

EPOCH = int(START // 60.0)
EVALUATION = 600.0


def test_what_has_just_become_suspicious_is_judged_again_halfway_and_nothing_else_is() -> None:
    stage = ClustersStage(0, 1, Policy())
    people, pool = honest_rows(600, 4), pool_rows(40, 104)
    stage.apply(EPOCH, [delta(EPOCH, people, pool)])
    grown, other = pool_rows(60, 104), pool_rows(40, 105, name="other")  # twenty more have come, and a second pool
    other[0]["values"][:, Kind.PAYMENT], other[0]["templates"][:, 0] = 5_353, 888
    moved = [(later(rows, EVALUATION), keys) for rows, keys in (people, grown, other)]

    def cards(epoch: int) -> tuple[bool, dict[int, int]] | None:
        judged = stage.apply(epoch, [delta(epoch, *moved)])
        if judged is None:
            return None
        members = {item.value: len(item.keys) for item in judged.suspicions if item.kind == Kind.PAYMENT}
        return judged.confirming, members

    assert cards(EPOCH + 3) is None
    assert cards(EPOCH + 4) == (True, {4_242: 60})
    assert cards(EPOCH + 5) is None
    assert cards(EPOCH + 9) == (False, {4_242: 60, 5_353: 40})
    assert cards(EPOCH + 14) == (True, {5_353: 40})
    assert cards(EPOCH + 19) == (False, {4_242: 60, 5_353: 40})
    assert cards(EPOCH + 24) == (True, {})


def test_what_is_judged_again_stays_suspicious_and_teaches_nothing() -> None:
    stage = ClustersStage(0, 1, Policy())
    people, pool = honest_rows(600, 4), pool_rows(40, 104)
    stage.apply(EPOCH, [delta(EPOCH, people, pool)])
    models = stage._judge_of("default")

    def learned() -> tuple[object, ...]:
        signals = [signal.dump() for signal in models.signals]
        return signals, models.forest.dump(), models.own_past.dump(), models.suspected, stage.store.suspect.tolist()

    before = learned()
    calm = later(people[0], EVALUATION), people[1]
    judged = stage.apply(EPOCH + 4, [delta(EPOCH + 4, calm)])
    assert judged is not None
    assert judged.suspicions
    assert learned() == before


def test_a_restart_between_two_evaluations_changes_nothing() -> None:
    people, pool = honest_rows(600, 4), pool_rows(40, 104)
    moved = [(later(rows, EVALUATION), keys) for rows, keys in (people, pool)]
    for stop in (0, 4):  # before what is new was judged again, and after
        stage, again = ClustersStage(0, 1, Policy()), ClustersStage(0, 1, Policy())
        stage.apply(EPOCH, [delta(EPOCH, people, pool)])
        for epoch in range(EPOCH + 1, EPOCH + stop + 1):
            stage.apply(epoch, [delta(epoch, *moved)])
        again.store.load(stage.store.dump(range(len(stage.store))).values())
        again.remember(stage.names)
        again.load_models(stage.dump_models())
        again.load_population("default", stage.dump_population("default"))
        for epoch in range(EPOCH + stop + 1, EPOCH + 11):
            first, second = (each.apply(epoch, [delta(epoch, *moved)]) for each in (stage, again))
            assert (first is None) == (second is None) == (epoch - EPOCH not in {4, 9})
            if first is not None and second is not None:
                told = [[(item.cluster, item.log_odds) for item in each.suspicions] for each in (first, second)]
                assert told[0] == told[1] != []
                assert stage.dump_models() == again.dump_models()
