"""The detector on simulated traffic, small: attacks are found as one campaign, honest groups are left alone.

The full sizes, more seeds and the figures are `stream-guard evaluate`; these tests hold the behaviour. Two processes
play the scenarios, the longest first, while the tests wait for theirs.
"""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from stream_guard.pipeline import Pipeline
from stream_guard.policy import Policy
from stream_guard.records import AlertStatus, Scope, Severity, Verdict
from stream_guard.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stream_guard.records import Alert, Campaign

BACKGROUND, SEED = 1_500, 5
HONEST = ("B1", "B2-viral", "B5", "B6", "B6-new", "B9", "B10")
HOSTILE = {"S11": (0.1, 2.5), "S12": (0.1, 2.5), "S3": (0.05, 1.6), "S7": (0.03, 1.2), "S1": (1.0, 1.2)}
SIZES = HOSTILE | dict.fromkeys(HONEST, (0.2, 1.2))  # scale and days
CHUNK = 2_000


class Played(NamedTuple):
    """What came out, and the truth."""

    campaigns: list[Campaign]
    alerts: list[Alert]
    truth: dict[str, Any]


def play(scenario: str, scale: float, days: float) -> Played:
    """Simulate and replay; the truth stays outside."""
    traffic = simulate(scenario, scale=scale, seed=SEED, days=days, background_accounts=BACKGROUND)
    pipeline, alerts = Pipeline(Policy()), []
    lines = [msgspec.json.encode(record) for record in traffic.records]
    for start in range(0, len(lines), CHUNK):
        outputs, refused = pipeline.feed(lines[start : start + CHUNK], latest_ts=float("inf"))
        assert not refused
        alerts += [alert for output in outputs for alert in output.alerts]
    alerts += [alert for output in pipeline.end() for alert in output.alerts]
    return Played(pipeline.finished(), alerts, json.loads(json.dumps(traffic.truth)))


@pytest.fixture(scope="module")
def played() -> Iterator[Callable[[str], Played]]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = {scenario: pool.submit(play, scenario, *size) for scenario, size in SIZES.items()}
        yield lambda scenario: runs[scenario].result()
        pool.shutdown(cancel_futures=True)


def firing(alerts: Sequence[Alert]) -> list[Alert]:
    return [
        alert
        for alert in alerts
        if alert.status is AlertStatus.FIRING
        and alert.scope is Scope.CAMPAIGN
        and alert.verdict is Verdict.EXTRACTION_CAMPAIGN
    ]


def found(campaigns: Sequence[Campaign]) -> list[Campaign]:
    return [
        campaign
        for campaign in campaigns
        if campaign.verdict is Verdict.EXTRACTION_CAMPAIGN and campaign.merged_into is None
    ]


def test_a_campaign_is_one_alert_with_its_members(played: Callable[[str], Played]) -> None:
    campaigns, alerts, truth = played("S3")
    hostile = set(truth["campaigns"][0]["accounts"])
    assert len(firing(alerts)) == 1
    (campaign,) = found(campaigns)
    members = {member.account_id for member in campaign.members if member.membership >= 0.5}
    assert len(members & hostile) >= 0.95 * len(members)
    assert len(members & hostile) >= 0.8 * len(hostile)


def test_every_alert_explains_itself_exactly(played: Callable[[str], Played]) -> None:
    alerts = played("S3").alerts
    assert alerts
    for alert in alerts:
        assert alert.log_odds == pytest.approx(sum(term.contribution for term in alert.evidence), abs=1e-6)
        assert [term.signal for term in alert.evidence].count("prior") == 1


def test_a_campaign_keeps_its_id_when_the_pool_is_swapped(played: Callable[[str], Played]) -> None:
    campaigns, alerts, truth = played("S7")
    assert len(firing(alerts)) == 1
    (campaign,) = found(campaigns)
    members = {member.account_id for member in campaign.members}
    for pool in ("pool_a", "pool_b"):
        accounts = set(truth["campaigns"][0][pool])
        assert len(members & accounts) >= 0.8 * len(accounts), pool


def test_a_greedy_account_is_an_alert_about_the_account(played: Callable[[str], Played]) -> None:
    _, alerts, truth = played("S1")
    (account,) = truth["campaigns"][0]["accounts"]
    assert {alert.subject_id for alert in alerts if alert.scope is Scope.ACCOUNT} == {account}


def test_two_laboratories_in_one_pool_are_two_components(played: Callable[[str], Played]) -> None:
    (campaign,) = found(played("S12").campaigns)
    languages = sorted((one.asked_with["language"] for one in campaign.components), key=len)
    assert languages[0] == {"en": 1.0}
    assert languages[1] == pytest.approx({"zh": 0.7, "en": 0.3}, abs=0.1)
    assert len(languages) == 2


def test_one_laboratory_with_several_templates_is_one_component(played: Callable[[str], Played]) -> None:
    (campaign,) = found(played("S11").campaigns)
    (hand,) = campaign.components
    assert len(hand.templates) > 1


@pytest.mark.parametrize("scenario", HONEST)
def test_honest_groups_raise_nothing_above_info(scenario: str, played: Callable[[str], Played]) -> None:
    _, alerts, truth = played(scenario)
    assert truth["benign_groups"]
    assert not [alert for alert in alerts if alert.severity is not Severity.INFO]
