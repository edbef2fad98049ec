"""What the documents name exists: paths, commands with their options, make targets, settings, examples."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from stream_guard.cli import cli
from stream_guard.clusters.signal import Signal
from stream_guard.clusters.signals import SIGNALS
from stream_guard.policy import Policy
from stream_guard.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ("docs/reference/", "docs/runbooks/")  # tested where they are written, and by tests/unit/test_deploy.py
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"),
    *(page for page in PAGES if not page.startswith(GENERATED)),
)
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SUFFIXES = (".py", ".md", ".toml", ".yml", ".json", ".sh", ".lock", "/")
WRITTEN = {
    "alerts.jsonl",
    "campaigns.jsonl",
    "decisions.jsonl",
    "summary.json",
    "evaluation.html",
    "evaluation.json",
    "policy.toml",
    "FILE.truth.json",
    "build/bench.json",
    "build/chaos.json",
    "build/e2e.json",
    "build/fuzz.json",
    "build/fuzz/",
    "build/sbom.json",
    "build/tutorial.json",
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def snippets(name: str) -> Iterator[str]:
    """Everything set as code: what stands between back-ticks, and the lines of blocks."""
    text = text_of(name)
    yield from CODE.findall(BLOCK.sub("", text))
    for _, block in BLOCK.findall(text):
        yield from (line.split("#")[0].strip() for line in block.splitlines())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_exists(name: str) -> None:
    paths = {code for code in CODE.findall(BLOCK.sub("", text_of(name))) if code.endswith(SUFFIXES) and " " not in code}
    places = (ROOT, ROOT / "stream_guard", ROOT / "stream_guard" / "simulate", ROOT / "stream_guard/simulate/attacks")
    missing = [
        path
        for path in sorted(paths - WRITTEN)
        if not path.startswith("/") and "://" not in path and not any((place / path).exists() for place in places)
    ]
    assert missing == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_make_target_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of("Makefile"), re.MULTILINE))
    named = {found[1] for code in snippets(name) if (found := re.match(r"(?:\$ )?make ([a-z0-9-]+)", code))}
    assert named <= targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_and_option_exists(name: str) -> None:
    for code in snippets(name):
        if code.startswith("stream-guard "):
            check_command(code)


def test_the_check_of_commands_can_fail() -> None:
    for wrong in ("stream-guard guess", "stream-guard decisions guess", "stream-guard demo --guess"):
        with pytest.raises(AssertionError):
            check_command(wrong)


def check_command(line: str) -> None:
    command: click.Command = cli
    words = line.split()[1:]
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
    unknown = [word for word in words if word.startswith("--") and word not in known]
    assert not unknown, f"{line}: {unknown}"


def test_every_setting_has_the_default_that_the_table_says() -> None:
    defaults = {PREFIX + "POLICY": None}
    for group, values in Settings.model_construct().model_dump().items():
        if isinstance(values, dict):
            defaults |= {f"{PREFIX}{group}__{field}".upper(): value for field, value in values.items()}
    rows = re.findall(rf"^\| (`{PREFIX}[^|]+) \| ([^|]*)\|", text_of("README.md"), re.MULTILINE)
    assert len(rows) >= 10
    for names, values in rows:
        told = CODE.findall(values) or [""] * len(CODE.findall(names))
        for name, value in zip(CODE.findall(names), told, strict=True):
            assert name in defaults, name
            assert value == ("" if defaults[name] is None else str(defaults[name])), name


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_variable_exists(name: str) -> None:
    groups = {field for field, value in Settings.model_construct().model_dump().items() if isinstance(value, dict)}
    for variable in set(re.findall(rf"{PREFIX}\w+", text_of(name))):
        group, _, field = variable.removeprefix(PREFIX).lower().partition("__")
        if field:
            assert group in groups, variable
            known = getattr(Settings.model_construct(), group).model_dump()
            assert field in known or field.removesuffix("_file") in known, variable
        else:
            assert group == "policy", variable


def test_the_examples_are_valid() -> None:
    blocks = BLOCK.findall(text_of("README.md"))
    policies = [Policy.model_validate(tomllib.loads(block)) for language, block in blocks if language == "toml"]
    assert [policy.decisions.dry_run for policy in policies] == [False]
    records = [json.loads(block) for language, block in blocks if language == "json"]
    assert all({"event_id", "ts", "account_id"} <= set(record) for record in records)
    assert records


def test_the_evidence_of_the_session_adds_up() -> None:
    session = next(block for _, block in BLOCK.findall(text_of("README.md")) if block.startswith("$ make demo"))
    terms = [float(term) for term in re.findall(r"^ +([+-]\d+\.\d\d)  \w+ {2,}\S", session, re.MULTILINE)]
    total = re.search(r"([+-]\d+\.\d\d)  sum; the alert says ([+-]\d+\.\d\d)", session)
    assert total
    assert total[1] == total[2]
    assert sum(terms) == pytest.approx(float(total[1]), abs=0.006 * len(terms))


def test_every_signal_is_named_in_the_file_that_has_it() -> None:
    rows = re.findall(r"\(`(stream_guard/clusters/signals/\w+\.py)`\) \| (.*) \|$", text_of("README.md"), re.MULTILINE)
    told = [name for _, names in rows for name in CODE.findall(names)]
    assert sorted(told) == sorted(signal.name for signal in SIGNALS)
    for path, names in rows:
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        held = {value.name for value in vars(module).values() if isinstance(value, Signal)}
        assert held == set(CODE.findall(names)), path


def test_every_command_is_in_the_table() -> None:
    table = text_of("README.md").partition("## All commands")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `stream-guard ([a-z-]+)", table, re.MULTILINE) == cli.list_commands(click.Context(cli))


def test_every_section_of_the_policy_is_named() -> None:
    assert re.findall(r"^\| `\[(\w+)\]` \|", text_of("README.md"), re.MULTILINE) == list(Policy.model_fields)
