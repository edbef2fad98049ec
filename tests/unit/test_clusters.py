"""Deltas in, suspicions out: people are left alone, an obvious pool is named to the last account."""

from __future__ import annotations

import numpy as np
import pytest

from stream_guard.clusters import SIGNALS, ClustersStage
from stream_guard.clusters.forest import GroupForest
from stream_guard.clusters.own_past import OwnPast
from stream_guard.clusters.rows import RowStore, row_key
from stream_guard.errors import StateError
from stream_guard.policy import Clusters, Policy
from stream_guard.records import Kind, Suspicion
from tests.support.events import CORPORATE, START, blank_rows, delta, honest_rows, later, pool_rows

EPOCH = int(START // 60.0)
EVALUATION = 600.0


def evaluations(stage: ClustersStage, *parts: tuple[np.ndarray, list[str]], count: int = 4) -> list[list[Suspicion]]:
    found = []
    for number in range(count):
        moved = [(later(rows, EVALUATION * number), keys) for rows, keys in parts]
        judged = stage.apply(EPOCH + 10 * number, [delta(EPOCH + 10 * number, *moved)])
        assert judged is not None
        found.append(list(judged.suspicions))
    return found


def accused(found: list[list[Suspicion]]) -> set[str]:
    return {key for suspicions in found for suspicion in suspicions for key in suspicion.keys}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_people_alone_give_no_suspicion(seed: int) -> None:
    assert accused(evaluations(ClustersStage(0, 1, Policy()), honest_rows(1_500, seed))) == set()


@pytest.mark.parametrize("seed", [1, 2])
def test_an_obvious_pool_among_people_is_named_exactly(seed: int) -> None:
    people, pool = honest_rows(1_500, seed), pool_rows(40, seed + 100)
    found = evaluations(ClustersStage(0, 1, Policy()), people, pool)
    for suspicions in found[1:]:
        card = [suspicion for suspicion in suspicions if suspicion.kind == Kind.PAYMENT]
        assert [set(suspicion.keys) for suspicion in card] == [set(pool[1])]
        assert card[0].rows["account"].tolist() == sorted(pool[0]["account"].tolist())
        assert card[0].cluster == f"default/payment/{4_242:08x}"
    assert accused(found) == set(pool[1])


def test_evidence_sums_to_the_log_odds_and_the_prior_stands_once() -> None:
    found = evaluations(ClustersStage(0, 1, Policy()), honest_rows(800, 1), pool_rows(40, 101))
    suspicions = [suspicion for each in found for suspicion in each]
    assert suspicions
    for suspicion in suspicions:
        assert sum(term.contribution for term in suspicion.evidence) == pytest.approx(suspicion.log_odds, abs=1e-9)
        names = [term.signal for term in suspicion.evidence]
        assert names.count("prior") == 1
        assert len(set(names)) == len(names)


def test_the_partitions_together_say_what_one_says() -> None:
    people, pool = honest_rows(800, 5), pool_rows(40, 105)
    alone = {suspicion.cluster for suspicion in evaluations(ClustersStage(0, 1, Policy()), people, pool)[0]}
    split: list[str] = []
    for number in range(3):
        stage = ClustersStage(number, 3, Policy())
        split += [suspicion.cluster for suspicion in evaluations(stage, people, pool)[0]]
    assert len(split) == len(set(split))
    assert {cluster.split("/")[1] for cluster in alone} <= {cluster.split("/")[1] for cluster in split}
    assert f"default/payment/{4_242:08x}" in split


def test_an_office_with_one_address_is_left_alone() -> None:
    rows, keys = honest_rows(1_200, 6)
    office = slice(0, 60)
    rows["values"][office, Kind.ADDRESS] = rows["addresses"][office, 0] = 5_555
    rows["values"][office, Kind.EMAIL_CLASS] = CORPORATE
    rows["values"][office, Kind.ORG] = 77
    assert accused(evaluations(ClustersStage(0, 1, Policy()), (rows, keys))) == set()


def test_a_popular_sdk_and_a_carriers_address_are_left_alone() -> None:
    rows, keys = honest_rows(1_500, 7)
    for kind in (Kind.TLS, Kind.HEADER, Kind.CLIENT, Kind.USER_AGENT):
        rows["values"][:700, kind] = 4_000 + kind
    rows["values"][300:1_000, Kind.ADDRESS] = rows["addresses"][300:1_000, 0] = 6_666
    rows["values"][300:1_000, Kind.ASN] = 66
    assert accused(evaluations(ClustersStage(0, 1, Policy()), (rows, keys))) == set()


def test_tenants_do_not_see_each_other() -> None:
    rows, keys = pool_rows(40, 1)
    half = [f"acme\x1f{key}" if number % 2 else key for number, key in enumerate(keys)]
    people, names = honest_rows(600, 8)
    stage = ClustersStage(0, 1, Policy())
    found = evaluations(stage, (people, names), (rows, half))
    for suspicions in found:
        for suspicion in suspicions:
            assert len({key.partition("\x1f")[0] == "acme" for key in suspicion.keys}) == 1
            assert suspicion.cluster.startswith(f"{suspicion.tenant}/")


def test_nothing_is_judged_between_evaluations_or_in_an_empty_epoch() -> None:
    people = honest_rows(100, 9)
    stage = ClustersStage(0, 1, Policy())
    assert stage.apply(EPOCH, [delta(EPOCH, people)]) is not None
    assert stage.apply(EPOCH + 1, [delta(EPOCH + 1, people)]) is None
    empty = delta(EPOCH + 30, (blank_rows([]), []))
    assert stage.apply(EPOCH + 30, [empty]) is None
    assert stage.apply(EPOCH + 31, [delta(EPOCH + 3, people)]) is None  # an old bundle that comes along
    assert stage.apply(EPOCH + 31, [delta(EPOCH + 31, people)]) is not None


def test_suspects_teach_nothing() -> None:
    stage = ClustersStage(0, 1, Policy())
    evaluations(stage, pool_rows(60, 1), honest_rows(400, 3), count=6)
    models = stage._judge_of("default")
    forest = models.forest.dump()
    assert models.suspected
    assert len(forest) <= 25 * 6
    assert not set(models.own_past.dump()) & set(models.suspected)


def test_models_population_and_rows_come_back_as_they_were() -> None:
    stage = ClustersStage(0, 1, Policy())
    people, pool = honest_rows(600, 4), pool_rows(40, 104)
    evaluations(stage, people, pool, count=3)
    again = ClustersStage(0, 1, Policy())
    assert again.store.load(stage.store.dump(range(len(stage.store))).values()) == 0
    again.remember(stage.names)
    again.load_models(stage.dump_models())
    again.load_population("default", stage.dump_population("default"))
    assert again.dump_models() == stage.dump_models()
    moved = [(later(rows, 1_800.0), keys) for rows, keys in (people, pool)]
    first, second = (each.apply(EPOCH + 30, [delta(EPOCH + 30, *moved)]) for each in (stage, again))
    assert first is not None
    assert second is not None
    assert [(item.cluster, item.log_odds, item.evidence) for item in first.suspicions] == [
        (item.cluster, item.log_odds, item.evidence) for item in second.suspicions
    ]
    assert again.dump_models() == stage.dump_models()


@pytest.mark.parametrize("broken", [b"", b"\xc1", b"\x80", b"\x81\xa7version\x02", b"\x92\x02\xc0", b"\x91\x01"])
def test_models_that_cannot_be_read_are_refused(broken: bytes) -> None:
    stage = ClustersStage(0, 1, Policy())
    with pytest.raises(StateError):
        stage.load_models(broken)
    with pytest.raises(StateError):
        stage.load_population("default", broken)
    assert stage.store.load([broken]) == 1


class TestRowStore:
    def test_the_newer_row_stays_and_merging_again_changes_nothing(self) -> None:
        store = RowStore(10_000)
        rows, keys = honest_rows(20, 1)
        newer = later(rows, 600.0)
        for each in (newer, rows, newer):
            store.merge(delta(EPOCH, (each, keys)))
        assert store.live.tobytes() == newer.tobytes()
        assert store.keys == keys

    def test_an_older_status_does_not_replace_a_newer_one(self) -> None:
        store = RowStore(10_000)
        rows, keys = honest_rows(5, 1)
        banned = rows.copy()
        banned["status"], banned["status_at"] = 1, START
        for each in (rows, banned, rows):
            store.merge(delta(EPOCH, (each, keys)))
        assert store.live["status"].tolist() == [1] * 5

    def test_what_was_silent_longest_goes_first_and_suspects_stay(self) -> None:
        store = RowStore(1_000)
        rows, keys = honest_rows(1_500, 2)
        rows["last_ts"] = START + np.arange(1_500)
        store.merge(delta(EPOCH, (rows, keys)))
        store.suspect[:10] = True
        gone = store.shrink()
        assert len(gone) == 600
        assert len(store) == 900
        assert store.keys == keys[:10] + keys[610:]
        assert sorted(gone) == sorted(rows["account"][10:610].tolist())
        assert store.suspect.sum() == 10
        assert max(store.dirty) < 900
        assert store.live["account"].tolist() == [*rows["account"][:10].tolist(), *rows["account"][610:].tolist()]
        assert store.shrink() == []
        fresh, names = honest_rows(50, 3)
        store.merge(delta(EPOCH, (fresh, names)))
        assert not store.suspect[900:].any()

    def test_who_is_silent_for_too_long_is_forgotten_in_steps_and_comes_back_whole(self) -> None:
        store = RowStore(15_000)
        rows, keys = honest_rows(4_000, 2)
        rows["last_ts"] = START + np.arange(4_000)
        store.merge(delta(EPOCH, (rows, keys)))
        assert store.forget_silent(START + 999.0) == [], "a thousand are not worth a copy of the rest"
        gone = [store.forget_silent(START + 2_999.0) for _ in range(3)]
        assert [len(step) for step in gone] == [1_500, 1_500, 0]
        assert gone[0] + gone[1] == rows["account"][:3_000].tolist()
        assert store.keys == keys[3_000:]
        assert len(store.rows) < 4_000, "memory is given back"
        back = later(rows[:5], 600.0)
        store.merge(delta(EPOCH, (back, keys[:5])))
        assert store.live[-5:].tobytes() == back.tobytes()

    def test_the_stage_keeps_to_its_bound_and_tells_who_went(self) -> None:
        stage = ClustersStage(0, 1, Policy(clusters=Clusters(max_rows=1_000)))
        stage.apply(EPOCH, [delta(EPOCH, honest_rows(1_400, 4))])
        assert len(stage.store) <= 1_000
        assert len(stage.dropped) == 1_400 - len(stage.store)

    def test_keys_are_stored_by_account(self) -> None:
        store = RowStore(10_000)
        rows, keys = honest_rows(3, 1)
        store.merge(delta(EPOCH, (rows, keys)))
        assert set(store.dump([0, 2])) == {row_key(int(rows["account"][0])), row_key(int(rows["account"][2]))}


class TestForest:
    def features(self, count: int, seed: int) -> list[list[float]]:
        columns = {
            name: np.random.default_rng(seed + place).uniform(0.0, 1.0, count)
            for place, name in enumerate(
                [*(signal.name for signal in SIGNALS), "even_counts", "binding", "capability_focus"]
            )
        }
        return GroupForest().features(columns, range(count))

    def test_says_nothing_until_a_window_is_full(self) -> None:
        forest = GroupForest()
        forest.learn(self.features(249, 1))
        ready = [forest.ready]
        assert np.isnan(forest.score(self.features(3, 2))).all()
        forest.learn(self.features(1, 3))
        assert [*ready, forest.ready] == [False, True]
        assert np.isfinite(forest.score(self.features(3, 2))).all()

    @pytest.mark.parametrize("count", [100, 250, 330, 700])
    def test_learning_the_dump_again_gives_the_same_scores(self, count: int) -> None:
        forest, again = GroupForest(), GroupForest()
        forest.learn(self.features(count, 1))
        again.load(forest.dump())
        probe = self.features(20, 9)
        np.testing.assert_array_equal(forest.score(probe), again.score(probe))
        forest.learn(probe * 15)
        again.learn(probe * 15)
        np.testing.assert_array_equal(forest.score(probe), again.score(probe))
        assert forest.dump() == again.dump()

    def test_an_outlier_is_squashed_and_the_unknown_stands_in_the_middle(self) -> None:
        columns = {
            name: np.array([1e12, -1e12, np.nan])
            for name in (*(signal.name for signal in SIGNALS), "even_counts", "binding")
        }
        high, low, unknown = GroupForest().features(columns, [0, 1, 2])
        assert set(high) == {1.0}
        assert set(low) == {0.0}
        assert set(unknown) == {0.5}


class TestOwnPast:
    def test_a_group_is_scored_only_after_its_grace_and_against_itself(self) -> None:
        past = OwnPast()
        for _ in range(30):
            past.learn([1], np.array([10.0]))
        past.learn([2], np.array([10.0]))
        z = past.score([1, 2, 3], np.array([1_000.0, 1_000.0, 1.0]))
        assert z[0] > 5.0
        assert np.isnan(z[1:]).all()

    def test_a_burst_cannot_teach_that_bursts_are_normal(self) -> None:
        past = OwnPast()
        for _ in range(30):
            past.learn([1], np.array([10.0]))
        past.learn([1], np.array([1e9]))
        assert past.score([1], np.array([1_000.0]))[0] > 5.0

    def test_only_the_living_are_remembered(self) -> None:
        past = OwnPast()
        past.learn([1, 2], np.array([1.0, 2.0]))
        past.forget({2})
        assert list(past.dump()) == [2]


def test_a_restart_takes_more_rows_back_than_the_first_array_holds() -> None:
    rows, keys = honest_rows(1_500, 4)
    store = RowStore(10_000)
    store.merge(delta(1, (rows, keys)))
    again = RowStore(10_000)
    assert again.load(store.dump(range(len(store))).values()) == 0
    assert len(again) == 1_500
    assert again.live.tobytes() == store.live.tobytes()
