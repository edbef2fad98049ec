"""What the person on call types, and what comes of it."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaConsumer  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard import cli
from stream_guard.adapters.kafka_records import KafkaRecords
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.app.operations import Operations
from stream_guard.cli import show
from stream_guard.decode import Decoder, decode_operation
from stream_guard.errors import ServiceUnavailableError
from stream_guard.ports import Output, Topic
from stream_guard.settings import RedisServer, load_settings
from tests.support.made import AT, campaign
from tests.support.operators import FakeOperations, fake_operations

WHY = ["--reason", "partner benchmark", "--actor", "ann"]


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> FakeOperations:
    made = fake_operations(monkeypatch)
    monkeypatch.setattr("time.time", lambda: AT)
    return made


def test_campaigns_are_a_table(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    del operations
    assert cli.main(["campaigns"]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "campaign",
        "verdict",
        "exchanges/h",
        "exchanges",
        "members",
        "first",
        "seen",
        "last",
        "seen",
    ]
    assert line.split()[:5] == ["cmp_1", "extraction_campaign", "512", "12,345", "1"]
    assert cli.main(["campaigns", "--tenant", "other"]) == 0
    assert capsys.readouterr().out == "no campaigns\n"


def test_one_campaign_explains_itself(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    del operations
    assert cli.main(["campaigns", "cmp_1"]) == 0
    shown = capsys.readouterr().out
    assert "+4.12  97 % of prompts follow one template" in shown
    assert "-3.00  most groups are honest" in shown
    assert "1 members now, 2 ever" in shown
    assert "acc_1" in shown
    assert cli.main(["campaigns", "cmp_9"]) == 1
    assert capsys.readouterr().err == "stream-guard: there is no campaign cmp_9 in tenant default\n"


@pytest.mark.parametrize(
    "arguments",
    [["campaigns"], ["campaigns", "cmp_1"], ["decisions", "list"], ["allow", "list"], ["kill-switch", "status"]],
)
def test_json_for_machines(
    operations: FakeOperations, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    del operations
    assert cli.main([*arguments, "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_decisions_show_what_waits(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    del operations
    assert cli.main(["decisions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["dec_1", "active", "limit", "60", "campaign"]
    assert lines[2].split()[:2] == ["dec_2", "held"]


@pytest.mark.parametrize(
    ("arguments", "action", "scope", "subject", "text"),
    [
        (["decisions", "approve", "dec_2"], "approve", "decision", "dec_2", "Approved decision dec_2"),
        (["decisions", "release", "dec_1"], "release", "decision", "dec_1", "Released decision dec_1"),
        (["decisions", "release", "acc_1", "--scope", "account"], "release", "account", "acc_1", "Released account"),
        (["allow", "add", "account", "acc_1"], "allow", "account", "acc_1", "Allowed account acc_1 for ever"),
        (["allow", "remove", "campaign", "c"], "disallow", "campaign", "c", "Campaign c is allowed no more"),
    ],
)
def test_an_action_says_what_it_did(  # noqa: PLR0917 # parameters
    operations: FakeOperations,
    arguments: list[str],
    action: str,
    scope: str,
    subject: str,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([*arguments, *WHY]) == 0
    ((topic, _, value),) = operations.sender.sent
    operation = decode_operation(value)
    assert topic is Topic.OPERATIONS
    assert (operation.action, operation.scope, operation.subject_id) == (action, scope, subject)
    assert (operation.actor, operation.reason, operation.ts) == ("ann", "partner benchmark", AT)
    shown = capsys.readouterr().out
    assert shown.startswith(text)
    assert operation.operation_id in shown
    assert operations.registry.entries[0]["via"] == "cli"


def test_an_allowance_can_end(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["allow", "add", "account", "acc_1", "--for", "12h", *WHY]) == 0
    assert decode_operation(operations.sender.sent[0][2]).expires_at == AT + 43_200.0
    assert "until 2025-10-09 20:53Z" in capsys.readouterr().out
    assert cli.main(["allow", "list"]) == 0
    assert "partner benchmark" in capsys.readouterr().out
    for wrong in ("12", "0h", "-1h", "1w", "soon"):
        assert cli.main(["allow", "add", "account", "acc_1", "--for", wrong, *WHY]) == 2


def test_feedback_is_what_the_decoder_reads(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["feedback", "--campaign", "cmp_1", "--label", "false_positive", *WHY]) == 0
    assert cli.main(["feedback", "--account", "acc_1", "--label", "true_positive", *WHY]) == 0
    assert [(topic, key) for topic, key, _ in operations.sender.sent] == [
        (Topic.FEEDBACK, b"cmp_1"),
        (Topic.FEEDBACK, b"acc_1"),
    ]
    decoded = Decoder().decode([value for _, _, value in operations.sender.sent], latest_ts=AT + 1.0)
    first, second = (item for _, item in decoded.feedback)
    assert (first.campaign_id, first.label, first.actor, first.ts) == ("cmp_1", "false_positive", "ann", AT)
    assert (second.account_id, second.reason) == ("acc_1", "partner benchmark")
    assert capsys.readouterr().out.startswith("Recorded false_positive for campaign cmp_1")
    assert cli.main(["feedback", "--label", "true_positive", *WHY]) == 2


def test_the_kill_switch(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kill-switch"]) == 0
    assert cli.main(["kill-switch", "on", *WHY]) == 0
    assert cli.main(["kill-switch", "status"]) == 0
    assert cli.main(["kill-switch", "off", *WHY]) == 0
    assert cli.main(["kill-switch", "off", *WHY]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "off: limits are in force",
        "Kill switch on: 3 limit keys deleted, none is written, as ann: partner benchmark",
        "ON since 2025-10-09 08:53Z, by ann: partner benchmark",
        "Kill switch off: limits return with their decisions' next updates, as ann: partner benchmark",
        "Kill switch was off already: limits return with their decisions' next updates, as ann: partner benchmark",
    ]
    assert [entry["action"] for entry in operations.registry.entries] == ["engage", "disengage", "disengage"]


def test_an_action_needs_a_reason_and_has_an_actor(operations: FakeOperations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getlogin", lambda: "bob")
    assert cli.main(["kill-switch", "on"]) == 2
    assert cli.main(["kill-switch", "on", "--reason", "  "]) == 1
    assert operations.registry.entries == []
    assert cli.main(["kill-switch", "on", "--reason", "gateway broken"]) == 0
    assert [entry["actor"] for entry in operations.registry.entries] == ["bob"]


def test_kafka_away_is_one_line(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    operations.sender.away = True
    assert cli.main(["decisions", "approve", "dec_2", *WHY]) == 1
    assert capsys.readouterr().err == "stream-guard: Kafka at nowhere did not take the record\n"
    assert operations.registry.entries == []


def test_text_from_outside_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show.show_allowed(
        [{"scope": "account", "id": "\x1b[2Jx", "actor": "[red]a[/red]", "at": None, "reason": "\u202egnirts\x07"}]
    )
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]a[/red]" in shown


async def test_the_listing_reads_what_the_worker_wrote(redis_url: str) -> None:
    client = connect(RedisServer(url=redis_url, timeout_seconds=3.0))
    tenant = f"t-{uuid4().hex}"
    await RedisRegistry(client).publish(Output(campaigns=[campaign(tenant=tenant)]))
    real = Operations(RedisRegistry(client), KillSwitch(client), FakeOperations().sender, lambda: AT)
    assert [item["member_count"] for item in await real.list_campaigns(tenant)] == [1]
    async for key in client.scan_iter(match=f"sg:{{{tenant}}}:*"):
        await client.delete(key)
    await client.aclose()


@pytest.mark.integration
async def test_kafka_has_a_record_when_the_call_returns(kafka_bootstrap: str) -> None:
    prefix = f"t-{uuid4().hex}."
    settings = load_settings(kafka={"bootstrap": kafka_bootstrap, "topic_prefix": prefix})
    name = settings.topic_name(Topic.OPERATIONS)
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    records = KafkaRecords(settings)
    try:
        await records.send(Topic.OPERATIONS, b"dec_1", b"{}")
        await records.send(Topic.OPERATIONS, b"dec_2", b"{}")
        consumer = KafkaConsumer(
            name, bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=5_000
        )
        assert [next(consumer).key for _ in range(2)] == [b"dec_1", b"dec_2"]
        consumer.close()
        with pytest.raises(ServiceUnavailableError):
            await records.send(Topic.FEEDBACK, b"k", b"{}")  # there is no such topic, and none is made
    finally:
        await records.aclose()
        admin.delete_topics([name])
        admin.close()
