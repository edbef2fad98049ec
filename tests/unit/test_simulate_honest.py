"""Honest traffic has the statistics that make the problem hard."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from stream_guard.simulate import simulate

DAY = 86_400_000


@pytest.fixture(scope="module")
def week() -> list[dict[str, Any]]:
    traffic = simulate("quiet", scale=1.0, seed=5, days=7, background_accounts=1500)
    return list(traffic.records)


def test_few_accounts_carry_a_large_share(week: list[dict[str, Any]]) -> None:
    counts = sorted(Counter(record["account_id"] for record in week).values(), reverse=True)
    assert sum(counts[:10]) > 0.25 * sum(counts)
    assert counts[len(counts) // 2] < 0.3 * sum(counts) / len(counts)


def test_every_account_shows_up(week: list[dict[str, Any]]) -> None:
    assert 1400 < len({record["account_id"] for record in week}) <= 1500


def test_offices_rest_at_night_and_at_the_weekend(week: list[dict[str, Any]]) -> None:
    start = week[0]["ts"] // DAY * DAY
    local = {"US": -6, "DE": 1, "JP": 9}
    hours: Counter[int] = Counter()
    days: Counter[int] = Counter()
    for record in week:
        if record["plan"] in {"team", "enterprise"} and record["access_path"] == "web" and record["country"] in local:
            at = record["ts"] - start + local[record["country"]] * 3_600_000
            days[at // DAY % 7] += 1
            hours[at // 3_600_000 % 24] += 1
    working = sum(hours[hour] for hour in range(9, 17))
    assert working > 6 * sum(hours[hour] for hour in range(8))
    assert days[1] > 3 * days[5]


def test_prompts_are_many_and_some_repeat(week: list[dict[str, Any]]) -> None:
    prompts = Counter(record["prompt"] for record in week)
    assert len(prompts) > 0.75 * len(week)
    assert prompts.most_common(1)[0][1] > 20
    languages = {record["language"] for record in week}
    assert languages >= {"en", "zh", "es", "de", "hi", "ja", "ko", "fr", "pt"}


def test_shared_software_is_popular(week: list[dict[str, Any]]) -> None:
    users: dict[str, set[str]] = {}
    for record in week:
        users.setdefault(record["tls_fp"], set()).add(record["account_id"])
    sizes = sorted((len(accounts) for accounts in users.values()), reverse=True)
    assert sizes[0] > 0.25 * sum(sizes)
    assert sizes[0] > 10 * sizes[-1]


def test_errors_and_refusals_are_rare_but_there(week: list[dict[str, Any]]) -> None:
    failed = Counter(record["status"] for record in week)
    assert 0.95 < failed[200] / len(week) < 0.99
    assert failed[429] > failed[500] > 0
    refused = sum("refusal" in record.get("flags", ()) for record in week)
    assert 0.002 < refused / len(week) < 0.03


def test_popular_sdk_has_forty_percent_of_the_traffic() -> None:
    traffic = simulate("B10", scale=1.0, seed=5, days=3, background_accounts=3000)
    prints = Counter(record["tls_fp"] for record in traffic.records)
    assert 0.3 < prints.most_common(1)[0][1] / prints.total() < 0.5
