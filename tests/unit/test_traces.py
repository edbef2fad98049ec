"""Real traces as background and real lists as attacks, on small files in the published formats."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING

import click
import numpy as np
import pytest

from stream_guard import cli
from stream_guard.simulate.traces import FAMILIES, read_traces, simulate_traces
from stream_guard.simulate.traces.families import HONEST_TEXTS, prompts_of
from stream_guard.simulate.traces.read import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WINDOWS = 2_016  # of ten minutes, in 14 days


def write(path: Path, content: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())


def table(header: str, rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header.split(","), *rows])
    return text.getvalue()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clients, four of whom ask only in the first half of each day; lists of 60 questions."""
    root = tmp_path_factory.mktemp("traces")
    rates = [
        ("large", client, window * 600, 0.01, 2.0, "Gamma", 1, 1)
        for client in range(6)
        for window in range(WINDOWS)
        if client < 2 or window % 144 < 72
    ]
    write(root / "servegen/client_rates.csv.gz", table("pool,client,t_s,rate_rps,cv,dist,p1,p2", rates))
    quantiles = [("large", client, 0, side, *np.linspace(900, 1_000, 15)) for client in range(6) for side in
                 ("input_tokens", "output_tokens")]  # fmt: skip
    header = "pool,client,t_s,field," + ",".join(f"q{q}" for q in QUANTILES)
    write(root / "servegen/client_token_quantiles.csv.gz", table(header, quantiles))
    for name in ("conv", "code"):
        rows = [("t", 70 + number % 10, 30) for number in range(40)]
        write(
            root / f"azure_llm_2023/AzureLLMInferenceTrace_{name}.csv.gz",
            table("TIMESTAMP,ContextTokens,GeneratedTokens", rows),
        )
    chats = [[0, 1, 2, 3], [0, 1, 2, 4, 5], [0, 7, 8, 9], [0, 1, 2, 4, 6, 1], [9, 9, 9]]
    write(
        root / "mooncake_conv/conversation_trace.jsonl.gz",
        "\n".join(json.dumps({"hash_ids": blocks}) for blocks in chats),
    )
    agents = [(0.1 / (1 + number), f"Mozilla/5.0 ({number})") for number in range(10)]
    write(root / "useragents/intoli_user_agents.csv.gz", table("weight,user_agent", agents))
    processes = ("chrome.exe", "firefox", "python3", "curl", "Webex Teams")
    prints = [(f"md5{number}", 1_000 - number, f"{name}:x:9") for number, name in enumerate(processes)]
    write(
        root / "tls/tls_fingerprints.csv.gz",
        table("md5_of_str,total_count,top_processes(process:category:count)", prints),
    )
    asked = [
        {"instruction": f"Name {number} rivers.", "input": "of Asia" if number % 2 else ""} for number in range(60)
    ]
    write(root / "alpaca/alpaca_4000.json.gz", json.dumps(asked))
    coded = [{"instruction": f"Write a loop that ends after {number} steps.", "input": ""} for number in range(60)]
    write(root / "codealpaca/new_codealpaca.json.gz", json.dumps(coded))
    write(root / "codealpaca/code_alpaca_2k.json.gz", json.dumps(coded[:20]))
    for name in ("alpaca", "codealpaca"):
        seeds = [{"instruction": f"{name} {number}", "instances": [{"input": ""}]} for number in range(7)]
        write(root / f"{name}/seed_tasks.jsonl", "\n".join(map(json.dumps, seeds)))
        write(root / f"{name}/prompt.txt", "Come up with tasks.\n")
    for name in ("train", "test"):
        sums = [{"question": f"{name}: what is {number} and {number}?"} for number in range(60)]
        write(root / f"gsm8k/{name}.jsonl.gz", "\n".join(map(json.dumps, sums)))
    templates = {
        "evol_depth": "Rewrite: {method} {instruction}",
        "evol_depth_methods": {"a": "deeper", "b": "longer"},
        "evol_breadth": "Create: {instruction}",
        "baize_selfchat": "Chat about '{topic}'.",
    }
    write(root / "evol_baize_templates/templates.json", json.dumps(templates))
    return root


def test_clients_and_requests_are_on_one_side_of_the_split(directory: Path) -> None:
    first, second = read_traces(directory, 0), read_traces(directory, 1)
    assert len(first.customers) + len(second.customers) == 6
    assert min(len(first.customers), len(second.customers)) > 0
    assert len(first.chat) + len(second.chat) == 40
    assert not {agent for agent, _ in first.agents} & {agent for agent, _ in second.agents}


def test_a_conversation_is_as_long_as_its_prefixes_say(directory: Path) -> None:
    lengths = np.concatenate([read_traces(directory, part).turns for part in (0, 1)])
    assert sorted(lengths.tolist()) == [1, 1, 3]


def test_other_software_is_no_browser_and_no_runtime(directory: Path) -> None:
    traces = read_traces(directory, 0)
    assert [name for name, _ in traces.browsers] == ["md50", "md51"]
    assert [name for name, _ in traces.runtimes] == ["md52", "md53"]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_no_attack_asks_what_honest_people_of_its_split_ask(directory: Path, family: object) -> None:
    family = FAMILIES[family.name]  # type: ignore[attr-defined]  # parametrised with the registry's own values
    traces = read_traces(directory, 0)
    assert family.items not in HONEST_TEXTS[family.split]
    prompts = prompts_of(family, traces)
    variants = len(traces.templates[family.template]) if family.template else 1
    if family.per_prompt == 1:
        assert len(set(prompts)) == len(prompts) == variants * len(traces.texts[family.items])
    else:
        assert len(set(prompts)) > 100


def test_the_whole_list_is_asked_once_and_in_order(directory: Path) -> None:
    traffic = simulate_traces(directory, "codealpaca", 20, background_accounts=300)
    (campaign,) = traffic.truth["campaigns"]
    assert len(campaign["accounts"]) == 20
    asked = [record["prompt"] for record in traffic.records if record.get("account_id") in set(campaign["accounts"])]
    wanted = prompts_of(FAMILIES["codealpaca"], read_traces(directory, 1))
    assert asked[: len(wanted)] == wanted[: len(asked)]
    assert len(asked) == pytest.approx(len(wanted), rel=0.5)


def test_services_keep_the_rhythm_and_the_tokens_of_their_clients(directory: Path) -> None:
    records = list(simulate_traces(directory, "alpaca", 20, background_accounts=2_000).records)
    services = [one for one in records if one.get("plan") == "pay_as_you_go" and one["status"] == 200]
    tokens = np.array([one["output_tokens"] for one in services])
    assert ((tokens >= 900) & (tokens <= 1_000)).mean() > 0.95
    halves = np.bincount([one["ts"] // (12 * 3_600_000) % 2 for one in services], minlength=2)
    assert halves[0] > 1.5 * halves[1]  # most clients of the files ask in the first half of the day only


def test_equal_arguments_give_equal_records(directory: Path) -> None:
    first, second = (simulate_traces(directory, "gsm8k", 5, seed=3, background_accounts=100) for _ in range(2))
    assert list(first.records) == list(second.records)


def test_a_missing_file_is_named(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"intoli_user_agents\.csv\.gz is missing"):
        read_traces(tmp_path, 0)
    for path in directory.rglob("*.*"):
        target = tmp_path / path.relative_to(directory)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    write(tmp_path / "tls/tls_fingerprints.csv.gz", "another,table\n1,2\n")
    with pytest.raises(click.UsageError, match=r"tls_fingerprints\.csv\.gz is not in the expected format"):
        read_traces(tmp_path, 0)


@pytest.mark.parametrize("arguments", [["--days", "1"], ["--scale", "1"], ["S3"], ["--all"]])
def test_what_real_lists_have_no_use_for_is_refused(directory: Path, tmp_path: Path, arguments: list[str]) -> None:
    assert cli.main(["evaluate", "--traffic", str(directory), "--out", str(tmp_path), *arguments]) == 2
    assert not list(tmp_path.iterdir())


def test_the_command_reports_each_family_alone(directory: Path, tmp_path: Path) -> None:
    options = ["--background-accounts", "150", "--jobs", "1", "--out", str(tmp_path), "--pool", "6"]
    code = cli.main(["evaluate", "--traffic", str(directory), "codealpaca", "baize", *options])
    assert code == 0
    report = json.loads((tmp_path / "evaluation.json").read_bytes())
    assert [(row["family"], row["accounts"]) for row in report["families"]] == [("codealpaca", 6), ("baize", 6)]
    assert {row["wanted_leaked_share"] for row in report["families"]} == {0.1, 0.02}
    assert str(directory) not in (tmp_path / "evaluation.json").read_text()
