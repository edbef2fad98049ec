from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from river import stats

from stream_guard.accounts import AccountsStage, EwGaussianTail
from stream_guard.accounts.table import AccountTable, account_hash, dump_events, load_events
from stream_guard.errors import StateError
from stream_guard.policy import Epochs
from stream_guard.records import ROW, AccountStatus, AccountStatusValue, Capability, Kind
from tests.support.events import START, batch_of, record, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.accounts.stage import Closed

COUNTED = ("events", "output_tokens", "capability", "last_ts", "first_ts", "values", "addresses", "created_at", "quota")
DECAYED = {"rate_5m": 300.0, "rate_1h": 3_600.0, "rate_1d": 86_400.0, "day_shape": 3 * 86_400.0}


def run(records: Sequence[bytes], epochs: Epochs | None = None) -> tuple[AccountsStage, list[Closed]]:
    stage = AccountsStage(0, epochs or Epochs())
    stage.add(batch_of(records), np.arange(len(records)))
    closed = stage.close_due()
    return stage, closed + stage.close_idle(stage.watermark + 60.0)


def row_of(stage: AccountsStage, key: str) -> Any:  # noqa: ANN401 # a structured scalar
    return stage.table.rows[stage.table.slots[key]]


class TestEwGaussianTail:
    def test_keeps_rivers_means_and_variances(self) -> None:
        values = np.random.default_rng(3).normal(5.0, 2.0, 200).tolist()
        model, mean, variance = EwGaussianTail(fading_factor=0.1), stats.EWMean(0.1), stats.EWVar(0.1)
        for value in values:
            model.learn_one({"x": value})
            mean.update(value)
            variance.update(value)
        assert model._state["x"][0] == pytest.approx(mean.get(), rel=1e-12)
        assert model._state["x"][1] == pytest.approx(variance.get(), rel=1e-9)

    def test_large_means_do_not_cancel(self) -> None:
        small, large = EwGaussianTail(), EwGaussianTail()
        for value in np.random.default_rng(4).normal(0.0, 1.0, 300).tolist():
            small.learn_one({"x": value})
            large.learn_one({"x": value + 1e9})
        assert large._state["x"][1] == pytest.approx(small._state["x"][1], rel=1e-5)

    def test_a_batch_is_its_rows_one_by_one(self) -> None:
        generator = np.random.default_rng(5)
        columns = {"a": generator.normal(size=50), "b": generator.normal(size=50)}
        columns["b"][7] = np.nan
        singly, at_once = EwGaussianTail(), EwGaussianTail()
        for a, b in zip(*columns.values(), strict=True):
            singly.learn_one({"a": a, "b": b})
        at_once.learn_many(columns)
        for name in columns:
            assert singly._state[name] == pytest.approx(at_once._state[name], rel=1e-9)
        scores = [singly.score_one({"a": a, "b": b}) for a, b in zip(*columns.values(), strict=True)]
        assert singly.score_many(columns) == pytest.approx(scores, rel=1e-9)

    def test_is_silent_until_it_is_ready_and_deaf_to_what_is_no_number(self) -> None:
        model = EwGaussianTail(grace_period=3)
        for value in (1.0, math.nan, math.inf, 2.0):
            model.learn_one({"x": value})
        ready = [model.ready]
        assert model.score_one({"x": 1e9}) == 0.0
        model.learn_one({"x": 1.5})
        assert [*ready, model.ready] == [False, True]
        assert model.score_one({"x": math.nan}) == 0.0
        assert 0.9 < model.score_one({"x": 1e9}) <= 1.0


class TestCounting:
    def test_totals_and_what_was_shown_last(self) -> None:
        stage, closed = run(
            [
                record("a", START, "1", output_tokens=10, capability="coding", country="DE", ip="10.0.0.1"),
                record("a", START + 1, "2", output_tokens=5, country="FR", ip="10.0.1.1", plan="pro"),
                record("a", START + 62, "3", ip="10.0.0.7"),
            ]
        )
        row = row_of(stage, "a")
        assert (row["events"], row["output_tokens"], row["first_ts"], row["last_ts"]) == (3, 15.0, START, START + 62)
        assert row["capability"][Capability.CODING] == 1.0
        shown = {key: name for epoch in closed for key, name in epoch.delta.names.items()}
        names = {name: value for (kind, value), name in shown.items() if kind == Kind.COUNTRY}
        assert row["values"][Kind.COUNTRY] == names["FR"]
        assert row["values"][Kind.PLAN] != 0
        assert (row["addresses"] != 0).sum() == 2  # the last one of each epoch; a /24 is one address
        assert row["account"] == account_hash("a")

    def test_late_events_are_counted_and_not_lost(self) -> None:
        stage = AccountsStage(0, Epochs())
        for position, ts in enumerate((START, START + 200.0, START + 1.0)):
            stage.add(batch_of([record("a", ts, f"e{position}")]), np.array([position]))
            stage.close_due()
        stage.close_idle(START + 600.0)
        assert stage.late == 1
        assert row_of(stage, "a")["events"] == 3
        assert row_of(stage, "a")["last_ts"] == START + 200.0

    def test_duplicates_are_told(self) -> None:
        _, closed = run([record("a", START, "1"), record("a", START, "1"), record("b", START, "1")])
        counted = sum(epoch.events for epoch in closed), sum(epoch.duplicates for epoch in closed)
        assert counted == (1, 2)  # an id is one event, whoever sends it

    def test_the_duplicate_window_is_bounded_but_never_empty(self) -> None:
        stage, _ = run(
            [record("a", START + 60.0 * number, f"e{number}") for number in range(50)],
            Epochs(duplicate_window_events=5, duplicate_window_seconds=1e9),
        )
        assert 1 <= sum(len(events) for _, events in stage.recent_events()) <= 5

    def test_limited_answers_count_but_change_no_evidence(self) -> None:
        prompts = ["one two three four five six", "seven eight nine ten eleven"]
        plain = [
            record(
                "a", START + 37.0 * number, f"e{number}", output_tokens=9, prompt=prompts[number % 2], flags=["refusal"]
            )
            for number in range(30)
        ]
        limited = [
            record(
                "a",
                START + 50.0 * number + 11.0,
                f"l{number}",
                output_tokens=99,
                limited_by="dec",
                prompt="x y z u v w",
                flags=["cot_elicitation"],
            )
            for number in range(30)
        ]
        without, _ = run(plain)
        with_limited, closed = run(plain + limited)
        expected, found = row_of(without, "a"), row_of(with_limited, "a")
        assert (found["events"], found["evidence_events"], expected["events"]) == (60, 30, 30)
        assert sum(epoch.limited for epoch in closed) == 30
        idle = float(found["last_ts"] - expected["last_ts"])
        for name in ROW.names or ():
            if name in COUNTED:
                continue
            kept = math.exp(-idle / DECAYED[name]) if name in DECAYED else 1.0
            assert found[name] == pytest.approx(expected[name] * kept, rel=2e-3, nan_ok=True), name

    def test_an_account_that_only_gets_limited_answers_has_no_evidence(self) -> None:
        stage, _ = run([record("a", START, "1", limited_by="dec", prompt="one two three four five six")])
        row = row_of(stage, "a")
        assert (row["events"], row["evidence_events"], row["prompts"], row["rate_1h"]) == (1, 0, 0, 0.0)

    def test_a_status_takes_effect_in_the_epoch_of_its_time_and_the_newest_stays(self) -> None:
        stage = AccountsStage(0, Epochs())
        stage.add(batch_of([record("a", START, "1")]), np.array([0]))
        banned = AccountStatus("a", AccountStatusValue.BANNED, START + 70.0)
        stage.add_status([(4, banned), (5, AccountStatus("a", AccountStatusValue.VERIFIED, START + 10.0))])
        (first,) = stage.close_idle(START + 60.0)
        assert first.delta.rows["status"].tolist() == [AccountStatusValue.VERIFIED]
        assert stage.first_waiting_status_offset == 4
        (second,) = stage.close_idle(START + 120.0)
        assert second.delta.rows["status"].tolist() == [AccountStatusValue.BANNED]
        stage.add_status([(6, AccountStatus("a", AccountStatusValue.VERIFIED, START + 20.0))])
        stage.close_idle(START + 180.0)
        assert row_of(stage, "a")["status"] == AccountStatusValue.BANNED

    def test_an_empty_epoch_still_moves_event_time_on(self) -> None:
        stage, _ = run([record("a", START, "1")])
        (closed,) = stage.close_idle(START + 6_000.0)
        assert (len(closed.delta.rows), closed.delta.epoch) == (0, int((START + 6_000.0) // 60.0) - 1)
        assert stage.close_idle(START + 100.0) == []


class TestPrompts:
    def test_a_template_shows_after_two_prompts(self) -> None:
        frame = "please translate the following sentence into formal german and keep names as they are"
        once, _ = run([record("a", START, "1", prompt=f"{frame}: cats sleep")])
        twice, _ = run([record("a", START + number, str(number), prompt=f"{frame}: {number}") for number in range(2)])
        assert (row_of(once, "a")["templates"] != 0).sum() == 1
        assert (row_of(twice, "a")["templates"] != 0).sum() > 1
        assert row_of(once, "a")["template_share"] == 0.0

    def test_accounts_that_asked_once_each_in_one_template_share_a_key(self) -> None:
        frame = "please translate the following sentence into formal german and keep names as they are"
        stage, _ = run([record(account, START, account, prompt=f"{frame}: {account}") for account in "abcdefgh"])
        keys = [row_of(stage, account)["templates"][0] for account in "abcdefgh"]
        assert keys.count(max(keys, key=keys.count)) >= 5

    def test_a_key_that_has_not_recurred_follows_the_newest_prompt_and_goes_after_a_few(self) -> None:
        rng = np.random.default_rng(1)
        asked = [record("a", START + 90.0 * number, str(number), prompt=words(rng, 9)) for number in range(4)]
        shown = []
        for count in (1, 2, 4):
            stage, _ = run(asked[:count])
            shown.append(row_of(stage, "a")["templates"].tolist())
        assert [sum(key != 0 for key in keys) for keys in shown] == [1, 1, 0]
        assert shown[0] != shown[1]

    def test_two_accounts_with_one_template_share_a_key(self) -> None:
        frame = "please translate the following sentence into formal german and keep names as they are"
        stage, _ = run(
            [
                record(account, START + number, f"{account}{number}", prompt=f"{frame}: {account} {number}")
                for account in "ab"
                for number in range(6)
            ]
        )
        keys = [set(row_of(stage, account)["templates"].tolist()) - {0} for account in "ab"]
        assert keys[0] & keys[1]
        assert row_of(stage, "a")["template_share"] > 0.3

    def test_a_row_says_which_template_its_newest_prompt_shows(self) -> None:
        frame = "please translate the following sentence into formal german and keep names as they are"
        templated = [record("a", START + number, str(number), prompt=f"{frame}: {number}") for number in range(4)]
        stage, _ = run(templated)
        assert row_of(stage, "a")["values"][Kind.TEMPLATE] in set(row_of(stage, "a")["templates"].tolist()) - {0}
        other = record("a", START + 9.0, "9", prompt=words(np.random.default_rng(1), 9))
        stage, _ = run([*templated, other])
        assert row_of(stage, "a")["values"][Kind.TEMPLATE] == 0

    def test_unrelated_prompts_leave_no_template(self) -> None:
        generator = np.random.default_rng(1)
        stage, _ = run([record("a", START + number, str(number), prompt=words(generator, 9)) for number in range(8)])
        assert row_of(stage, "a")["template_share"] < 0.2

    def test_item_sketches_agree_for_equal_lists_whatever_the_order(self) -> None:
        items = [f"exercise number {number} about subject {number * 7}" for number in range(20)]
        stage, _ = run(
            [record("a", START + number, f"a{number}", prompt=item) for number, item in enumerate(items)]
            + [record("b", START + number, f"b{number}", prompt=item) for number, item in enumerate(reversed(items))]
            + [record("c", START + number, f"c{number}", prompt=f"other {item}") for number, item in enumerate(items)]
        )
        first, second, third = (set(row_of(stage, account)["items"].tolist()) for account in "abc")
        assert first == second
        assert not first & third
        assert 0 not in first


class TestStoredForm:
    def test_round_trip_bit_for_bit(self) -> None:
        stage, _ = run([record("a", START + number, str(number), prompt="one two three four") for number in range(9)])
        states = stage.table.dump([0])
        table = AccountTable()
        assert table.load(states) == 0
        assert table.dump([0]) == states

    @pytest.mark.parametrize("broken", [b"", b"\xc1", b"\x93\x01\x02", msgspec.msgpack.encode((1, b"none"))])
    def test_what_is_no_state_is_refused(self, broken: bytes) -> None:
        table = AccountTable()
        stage, _ = run([record("a", START, "1")])
        good = stage.table.dump([0])[b"aa"]
        assert table.load({b"aa": broken, b"a\xff": good, b"ab": good}) == 2
        assert list(table.slots) == ["b"]
        with pytest.raises(StateError):
            load_events(broken)

    def test_counted_events_come_back(self) -> None:
        assert load_events(dump_events([1, 2**64 - 1])) == [1, 2**64 - 1]

    def test_unknown_accounts_are_named_once(self) -> None:
        stage, _ = run([record("a", START, "1")])
        assert stage.unknown(["a", "b", "b", "c"]) == [b"ab", b"ac"]

    def test_the_table_grows(self) -> None:
        table = AccountTable(capacity=2)
        assert table.slots_of(["a", "b", "a", "c", "d", "e"]).tolist() == [0, 1, 0, 2, 3, 4]
        assert table.rows["account"][:5].tolist() == [account_hash(key) for key in "abcde"]


class TestSilence:
    def test_who_was_silent_for_a_day_leaves_and_gives_memory_back_while_waiting_events_follow(self) -> None:
        stage = AccountsStage(0, Epochs())
        many = [record(f"a{number}", START + 1.0, f"e{number}") for number in range(5_000)]
        stage.add(batch_of(many), np.arange(5_000))
        stage.close_idle(START + 120.0)
        stored = stage.table.dump(stage.dirty)
        stage.dirty.clear()
        capacity = len(stage.table.rows)
        assert stage.evict(10_000) == 0
        later = [record(key, START + 90_000.0, f"{key} again") for key in ("a4999", "new")]
        stage.add(batch_of(later), np.arange(5_000, 5_002))
        stage.close_due()
        stage.dirty.clear()
        assert stage.evict(10_000) == 4_999
        assert len(stage.table.rows) == len(stage.table.private) < capacity / 4
        stage.close_idle(START + 90_120.0)
        assert stage.table.keys == ["a4999", "new"]
        assert [row_of(stage, key)["events"] for key in ("a4999", "new")] == [2, 1]
        assert stage.load({b"aa17": stored[b"aa17"]}) == 0
        assert stage.table.dump([stage.table.slots["a17"]])[b"aa17"] == stored[b"aa17"]
