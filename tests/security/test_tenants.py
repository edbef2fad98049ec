"""What one tenant sends changes nothing of another: the same alerts, decisions and campaigns, to the byte."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from stream_guard.decode.operations import encode_operation
from stream_guard.encode import encode_alert, encode_campaign, encode_decision
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from stream_guard.records import Operation
from tests.support.events import START, small_world
from tests.support.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

Pairs = list[tuple[str, bytes]]


def of_tenant(tenant: str | None, seed: int = 1, **changed: Any) -> Pairs:  # noqa: ANN401 # fields of records
    pairs = []
    for account, value in small_world(seed=seed, hours=1.0).records:
        fields = {**json.loads(value), **changed}
        if tenant is not None:
            fields["tenant"] = tenant
        pairs.append((account if tenant is None else f"{tenant}\x1f{account}", json.dumps(fields).encode()))
    return pairs


def outcome(pairs: Sequence[tuple[str, bytes]], operations: Sequence[Operation] = ()) -> Network:
    """Everything that is known in the end; operations come when everything else has been judged."""
    network = Network(Policy(), 2, 2)
    ordered = sorted(pairs, key=lambda pair: json.loads(pair[1])["ts"])
    network.publish(ordered)
    network.finish(START + 3_600.0 + 120.0)
    network.logs[Topic.OPERATIONS, 0] = [encode_operation(operation) for operation in operations]
    network.drain()
    return network


def told(network: Network, tenant: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
    return (
        [encode_alert(alert) for alert in network.alerts if alert.tenant == tenant],
        [encode_decision(decision) for decision in network.decisions if decision.tenant == tenant],
        [encode_campaign(campaign) for campaign in network.campaigns() if campaign.tenant == tenant],
    )


@cache
def alone() -> tuple[list[bytes], list[bytes], list[bytes]]:
    found = told(outcome(of_tenant("ours")), "ours")
    assert all(found), "there is something to disturb"
    return found


@pytest.mark.parametrize("other", ["theirs", "default", "our", "ours2", "OURS", "ours ", "__proto__", "*", "{ours}"])
def test_another_tenant_with_the_same_ids_and_fingerprints_changes_nothing(other: str) -> None:
    both = outcome([*of_tenant("ours"), *of_tenant(other)])
    assert told(both, "ours") == alone()
    assert all(told(both, other))


def test_a_tenant_that_floods_changes_nothing() -> None:
    flood = [pair for number in range(4) for pair in of_tenant("theirs", seed=number + 2, payment_fp="one-card")]
    assert told(outcome([*of_tenant("ours"), *flood]), "ours") == alone()


def orders(tenant: str) -> list[Operation]:
    """All that an operator of that tenant could try on what belongs to ours."""
    campaign = json.loads(alone()[2][0])["campaign_id"]
    decision = json.loads(alone()[1][0])["decision_id"]
    tries = (("release", "decision", decision), ("allow", "account", "pool-1"), ("allow", "campaign", campaign))
    return [
        Operation(f"o{number}", action, tenant, scope, subject, "them", "attack", START + 7_200.0, None)
        for number, (action, scope, subject) in enumerate(tries)
    ]


def test_operators_of_one_tenant_reach_no_account_campaign_or_decision_of_another() -> None:
    pairs = [*of_tenant("ours"), *of_tenant("theirs", seed=5)]
    assert told(outcome(pairs, orders("theirs")), "ours") == alone()
    assert told(outcome(pairs, orders("ours")), "ours") != alone(), "its own operators do"
