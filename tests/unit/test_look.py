"""What the person on call reads at a terminal, from a real Redis."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from stream_guard import cli
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.decode import decode_operation
from stream_guard.ports import Output
from stream_guard.records import Component, DecisionStatus, Fingerprint
from stream_guard.settings import RedisServer
from tests.support.made import AT, alert, campaign, decision
from tests.support.operators import FakeOperations, fake_operations

if TYPE_CHECKING:
    from collections.abc import Generator

    from stream_guard.records import Json

HANDS = (
    Component(0.6, ("0000000a",), {"language": {"en": 1.0}, "system_prompt": {"000000ff": 0.7}}),
    Component(0.4, ("0000000b",), {"language": {"zh": 0.7, "en\x1b[2J": 0.3}}),
)
WHY = ["--reason", "partner benchmark", "--actor", "ann"]


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> FakeOperations:
    return fake_operations(monkeypatch)


@pytest.fixture
def tenant(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that has everything."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    name = f"t-{uuid4().hex[:8]}"
    shared = (Fingerprint("payment", "0000004d", AT), Fingerprint("client", "0000000c", AT))
    output = Output(
        campaigns=[
            campaign(tenant=name, fingerprints=shared, components=HANDS),
            campaign(tenant=name, campaign_id="cmp_2"),
        ],
        alerts=[alert(tenant=name)],
        decisions=[decision(tenant=name, status=DecisionStatus.HELD)],
    )
    entry = {
        "kind": "operation", "action": "allow", "scope": "account", "id": "acc_1", "at": "2026-11-25T10:00:00.000Z",
        "actor": "ann", "reason": "partner", "tenant": name, "via": "cli",
    }  # fmt: skip
    asyncio.run(store(redis_url, name, output, entry))
    return name


async def store(url: str, tenant: str, output: Output, entry: Json | None = None) -> None:
    client = connect(RedisServer(url=url))
    registry = RedisRegistry(client)
    await registry.publish(output)
    if entry is not None:
        await registry.allow(tenant, entry)
        await registry.audit(entry)
    await client.aclose()


READING = [
    ("campaigns", ["campaigns"], "cmp_1"),
    ("one campaign", ["campaigns", "cmp_1"], "shared_template"),
    ("alerts", ["alerts"], "alr_1"),
    ("decisions", ["decisions", "list"], "dec_1"),
    ("allow-list", ["allow", "list"], "acc_1"),
    ("audit", ["audit"], "partner"),
]


@pytest.mark.parametrize(("arguments", "wanted"), [one[1:] for one in READING], ids=[one[0] for one in READING])
def test_everything_that_can_be_read_is_a_table_and_json(
    tenant: str, arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--tenant", tenant]) == 0
    table = capsys.readouterr()
    assert table.err == ""
    assert len(table.out.splitlines()) >= 2
    assert max(map(len, table.out.splitlines())) <= 200
    assert wanted in table.out or wanted == "shared_template"
    assert cli.main([*arguments, "--tenant", tenant, "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)
    assert wanted in found.out
    assert cli.main([*arguments, "--tenant", f"{tenant}-none"]) == int(arguments[-1] == "cmp_1")


def test_one_campaign_has_everything_that_its_page_has(tenant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["campaigns", "cmp_1", "--tenant", tenant]) == 0
    shown = capsys.readouterr().out
    for wanted in (
        "firing: critical, alert alr_1", "shares payment: 0000004d", "similar to cmp_2", "dec_1", "held",
        "component 1: 60% of the templated requests; language en 100%; system prompt 000000ff 70%",
        "component 2: 40% of the templated requests; language zh 70%, en",
        "policy: observe from 0.5", "2 ever", "allow", "account acc_1", "ann (cli)",
    ):  # fmt: skip
        assert wanted in shown, wanted
    assert "\x1b" not in shown
    assert cli.main(["campaigns", "cmp_1", "--tenant", tenant, "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["history"] == [{"at": known["last_seen"], "exchanges": 12_345, "members": 1}]
    assert [one["decision_id"] for one in known["decisions"]] == ["dec_1"]


def test_decisions_are_followed_as_they_happen_and_gone_on_with(tenant: str, redis_url: str) -> None:
    first = following(tenant, "--json")
    events = [json.loads(next(first)) for _ in range(4)]
    assert [event["event"] for event in events] == ["resync", "decision", "synced", "kill_switch"]
    released = decision(tenant=tenant, status=DecisionStatus.RELEASED, at=AT + 1.0)
    asyncio.run(store(redis_url, tenant, Output(decisions=[released])))
    change = json.loads(next(first))
    assert (change["data"]["decision_id"], change["data"]["status"]) == ("dec_1", "released")
    first.close()
    again = following(tenant, "--after", events[2]["position"])
    shown = next(again)
    assert "dec_1  released  limit to 60 requests/min campaign cmp_1" in shown
    assert change["position"] in shown
    again.close()


def following(tenant: str, *options: str) -> Generator[str, None, None]:
    command = [sys.executable, "-m", "stream_guard.cli", "decisions", "follow", "--tenant", tenant, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield from process.stdout
        finally:
            process.terminate()


def test_snooze_says_until_when(operations: FakeOperations, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["snooze", "cmp_1", "--for", "8h", *WHY]) == 0
    assert decode_operation(operations.sender.sent[0][2]).expires_at == AT + 8 * 3_600.0
    assert capsys.readouterr().out.startswith("Snoozed campaign cmp_1 until 2025-10-09 16:53Z")
    assert cli.main(["snooze", "cmp_1", *WHY]) == 0
    assert decode_operation(operations.sender.sent[1][2]).expires_at == AT + 86_400.0
    assert cli.main(["snooze", "cmp_9", *WHY]) == 1
    assert cli.main(["snooze", "cmp_1", "--for", "soon", *WHY]) == 2
    assert len(operations.sender.sent) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["feedback", "--campaign", "cmp_9", "--label", "false_positive", *WHY],
        ["decisions", "approve", "dec_1", *WHY],
        ["decisions", "approve", "dec_9", *WHY],
        ["decisions", "release", "cmp_9", "--scope", "campaign", *WHY],
        ["snooze", "cmp_9", *WHY],
    ],
)
def test_what_cannot_be_done_fails_in_one_line_and_sends_nothing(
    operations: FakeOperations, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert operations.sender.sent == []
