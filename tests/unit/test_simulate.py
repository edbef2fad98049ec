"""The simulator as others use it: every scenario, the shape of records, the truth."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import click
import pytest

from stream_guard.simulate import SCENARIOS, Traffic, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUIRED = {
    "type": str, "event_id": str, "ts": int, "account_id": str, "session_id": str, "plan": str, "quota_per_day": int,
    "account_created_at": int, "email_class": str, "access_path": str, "ip": str, "asn": int, "asn_class": str,
    "country": str,
    "tls_fp": str, "header_fp": str, "user_agent": str, "model": str, "capability": str, "language": str,
    "prompt": str, "input_tokens": int, "output_tokens": int, "tools": int, "status": int, "latency_ms": int,
}  # fmt: skip
OPTIONAL = {
    "org_id": str, "api_key_id": str, "credit_program": str, "payment_fp": str, "system_prompt_fp": str,
    "max_tokens": int, "flags": list,
}  # fmt: skip
PATTERNS = {
    "account_id": r"acct_[0-9a-f]{12}", "payment_fp": r"pay_[0-9a-f]{12}", "session_id": r"ses_[0-9a-f]{12}",
    "api_key_id": r"key_[0-9a-f]{12}", "header_fp": r"h_[0-9a-f]{12}", "tls_fp": r"t13d\d{4}h2_[0-9a-f]{16}",
    "event_id": r"evt_[0-9a-f]{16}",
}  # fmt: skip


def tiny(scenario_id: str, seed: int = 3, **changes: float) -> Traffic:
    arguments: dict[str, Any] = {"scale": 0.02, "seed": seed, "days": 1.5, "background_accounts": 300} | changes
    return simulate(scenario_id, **arguments)


def queries(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["type"] == "query"]


@pytest.fixture(scope="module")
def letter() -> Traffic:
    return tiny("S3")


@pytest.fixture(scope="module")
def letter_records(letter: Traffic) -> list[dict[str, Any]]:
    return list(letter.records)


@pytest.mark.parametrize("scenario_id", list(SCENARIOS))
def test_every_scenario_keeps_its_promises(scenario_id: str) -> None:
    traffic = tiny(scenario_id)
    records = list(traffic.records)
    asked = queries(records)
    times = [record["ts"] for record in records]
    assert times == sorted(times)
    assert len(asked) == traffic.events
    assert len({record["event_id"] for record in asked}) == len(asked)
    assert traffic.truth["starts"] <= times[0]
    assert times[-1] < traffic.truth["ends"]
    seen = {record["account_id"] for record in asked}
    for campaign in traffic.truth["campaigns"]:
        assert set(campaign) >= {"label", "accounts", "starts", "exchanges"}
        assert campaign["accounts"] == sorted(set(campaign["accounts"]))
        assert set(campaign["accounts"]) <= seen
        assert campaign["starts"] >= traffic.truth["starts"] + 12 * 3_600_000
        assert 0 < campaign["exchanges"] <= len(asked)
    assert bool(traffic.truth["campaigns"]) == (scenario_id[0] in "SL" or scenario_id == "demo")
    labels = [group["label"] for group in traffic.truth["benign_groups"]]
    if scenario_id.startswith("B"):
        assert any(label.startswith(f"{scenario_id}-") for label in labels)


def test_records_have_the_fields_of_the_contract(letter_records: list[dict[str, Any]]) -> None:
    for record in letter_records:
        assert all(type(record[name]) is kind for name, kind in REQUIRED.items())
        assert all(type(record[name]) is OPTIONAL[name] for name in record.keys() - REQUIRED.keys())
        for name, pattern in PATTERNS.items():
            assert name not in record or re.fullmatch(pattern, record[name])
        assert record["account_created_at"] <= record["ts"]
        assert record["prompt"].strip() == record["prompt"] != ""


def test_nothing_in_a_record_names_its_class(letter: Traffic, letter_records: list[dict[str, Any]]) -> None:
    hostile = set(letter.truth["campaigns"][0]["accounts"])
    split: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for record in letter_records:
        split[record["account_id"] in hostile].append(record)
    mine, others = split[True], split[False]
    assert {name for record in mine for name in record} <= {name for record in others for name in record}
    for name in ("plan", "email_class", "access_path", "asn_class", "model", "capability", "language", "country"):
        assert {record[name] for record in mine} <= {record[name] for record in others}, name
    text = repr(letter_records[:200] + mine[:200]).lower()
    assert not re.search(r"letter-hydra|campaign|attack|hostile|benign", text)


def test_truth_counts_what_is_in_the_stream(letter: Traffic, letter_records: list[dict[str, Any]]) -> None:
    campaign = letter.truth["campaigns"][0]
    hostile = [record for record in letter_records if record["account_id"] in set(campaign["accounts"])]
    assert len(hostile) == campaign["exchanges"] == campaign["progress"][-1][1]
    assert hostile[0]["ts"] == campaign["starts"]
    assert sum(record["output_tokens"] for record in hostile) == campaign["output_tokens"]
    assert len(campaign["accounts"]) == campaign["accounts_planned"] == 500
    assert len({record["payment_fp"] for record in hostile}) <= 3


@pytest.mark.parametrize("scenario_id", ["S3", "S8", "B7"])
def test_equal_arguments_give_equal_records(scenario_id: str) -> None:
    assert list(tiny(scenario_id).records) == list(tiny(scenario_id).records)


def test_another_seed_gives_other_accounts_and_other_wording() -> None:
    first, second = (queries(tiny("S4", seed=seed, background_accounts=0).records) for seed in (1, 2))
    assert not {record["account_id"] for record in first} & {record["account_id"] for record in second}
    assert first[0]["prompt"][-40:] == first[1]["prompt"][-40:]


def test_background_does_not_depend_on_what_the_scenario_adds() -> None:
    quiet = {record["account_id"]: record["ip"] for record in tiny("quiet").records}
    with_campaign = {record["account_id"]: record["ip"] for record in tiny("S3").records}
    assert quiet.items() <= with_campaign.items()


def test_scale_multiplies_accounts_not_rates() -> None:
    small, large = (tiny("S3", scale=scale, background_accounts=0).truth["campaigns"][0] for scale in (0.02, 0.04))
    assert len(large["accounts"]) == 2 * len(small["accounts"])
    assert large["exchanges"] / len(large["accounts"]) == pytest.approx(
        small["exchanges"] / len(small["accounts"]), rel=0.1
    )


def test_pool_swap_bans_one_pool_and_starts_the_other_within_ten_minutes() -> None:
    traffic = tiny("S7", background_accounts=0, scale=0.004)
    campaign = traffic.truth["campaigns"][0]
    records = list(traffic.records)
    banned = [record for record in records if record["type"] == "account_status"]
    assert {record["account_id"] for record in banned} == set(campaign["pool_a"])
    assert {record["status"] for record in banned} == {"banned"}
    asked = queries(records)
    second = [record["ts"] for record in asked if record["account_id"] in set(campaign["pool_b"])]
    first = [record["ts"] for record in asked if record["account_id"] in set(campaign["pool_a"])]
    assert max(first) < campaign["swap_at"] < min(second) < campaign["swap_at"] + 600_000


def test_new_model_is_released_before_it_is_used() -> None:
    traffic = tiny("S9", scale=0.1)
    records = list(traffic.records)
    released = next(record for record in records if record["type"] == "model_release")
    used = [record for record in queries(records) if record["model"] == released["model"]]
    assert used
    assert min(record["ts"] for record in used) >= released["at"]
    hostile = set(traffic.truth["campaigns"][0]["accounts"])
    moved = Counter(record["account_id"] in hostile for record in used)
    assert moved[True] > 3 * moved[False]


def test_pool_counts_are_more_even_than_chance() -> None:
    counts = Counter(record["account_id"] for record in tiny("S3", background_accounts=0, days=2).records)
    mean = sum(counts.values()) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts.values()) / len(counts)
    assert variance < 0.8 * mean


@pytest.mark.parametrize(
    ("scenario_id", "changes"),
    [
        ("S99", {}),
        ("S3", {"scale": 0}),
        ("S3", {"days": -1}),
        ("quiet", {"background_accounts": 0}),
        ("S3", {"seed": -1}),
    ],
)
def test_wrong_usage_is_said_so(scenario_id: str, changes: dict[str, Any]) -> None:
    with pytest.raises(click.UsageError):
        tiny(scenario_id, **changes)
