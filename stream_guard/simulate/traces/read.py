"""Reads the published traces, in the layout and the formats that their authors' statistics are handed out in.

| file | columns or keys that are used |
|---|---|
| ``servegen/client_rates.csv.gz`` | ``pool, client, t_s, rate_rps, cv``: 10-minute windows over 14 days |
| ``servegen/client_token_quantiles.csv.gz`` | ``pool, client, field, q0 … q100`` |
| ``azure_llm_2023/AzureLLMInferenceTrace_{conv,code}.csv.gz`` | ``ContextTokens, GeneratedTokens`` |
| ``mooncake_conv/conversation_trace.jsonl.gz`` | ``hash_ids``: hashes of 512-token prefix blocks |
| ``useragents/intoli_user_agents.csv.gz`` | ``weight, user_agent`` |
| ``tls/tls_fingerprints.csv.gz`` | ``md5_of_str, total_count, top_processes(process:category:count)`` |
| ``alpaca``, ``codealpaca``, ``gsm8k``, ``evol_baize_templates`` | questions and templates, see ``families`` |
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stream_guard.simulate.model import Floats, Ints

WINDOW_SECONDS: Final = 600
QUANTILES: Final = (0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
_BROWSERS: Final = ("chrome", "firefox", "safari", "edge")
_RUNTIMES: Final = ("python", "node", "java", "curl")
_COMMON: Final = 40  # fingerprints kept of each kind of software
_AGENTS: Final = 400


@dataclass(frozen=True, slots=True)
class Customer:
    """One client of the published API statistics.

    Attributes:
        rates: (windows,) requests a second in each 10-minute window.
        cv: (windows,) coefficient of variation of the times between requests.
        tokens_in: (15,) quantiles of input tokens; empty where unknown.
        tokens_out: (15,) the same of output tokens.
    """

    rates: Floats
    cv: Floats
    tokens_in: Floats
    tokens_out: Floats


@dataclass(frozen=True, slots=True)
class Traces:
    """Everything that one split needs.

    Attributes:
        customers: clients of the split, with traffic.
        chat: (requests, 2) input and output tokens of conversations.
        code: (requests, 2) the same of coding requests.
        turns: lengths of conversations.
        agents: browsers' user agents and their weights.
        browsers: TLS fingerprints of browsers and how often each was seen.
        runtimes: the same of language runtimes.
        texts: questions by name of the list.
        templates: request templates by name.
    """

    customers: tuple[Customer, ...]
    chat: Ints
    code: Ints
    turns: Ints
    agents: tuple[tuple[str, float], ...]
    browsers: tuple[tuple[str, float], ...]
    runtimes: tuple[tuple[str, float], ...]
    texts: dict[str, tuple[str, ...]]
    templates: dict[str, tuple[str, ...]]


def read_traces(directory: Path, part: int) -> Traces:
    """Read the traces of one of two halves of the clients.

    Args:
        directory: where the files lie.
        part: 0 or 1; clients are divided by their names, requests of a trace by time.

    Returns:
        The traces; prompts are read whole, since whole lists are divided (see ``families``).

    Raises:
        click.UsageError: a file is missing or is not what it should be.
    """
    read = _Reader(directory)
    agents, browsers, runtimes = read(_agents), read(_fingerprints, _BROWSERS), read(_fingerprints, _RUNTIMES)
    chat, code, turns = read(_azure, "conv"), read(_azure, "code"), read(_turns)
    return Traces(
        customers=read(_customers, part),
        chat=np.array_split(chat, 2)[part],
        code=np.array_split(code, 2)[part],
        turns=np.array_split(turns, 2)[part],
        agents=agents[part::2],
        browsers=browsers,
        runtimes=runtimes,
        texts=read(_texts),
        templates=read(_templates),
    )


class _Reader:
    """Turns what goes wrong in a file into an error that names the file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory

    def __call__(self, part: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401  # what the part returns
        try:
            return part(self, *arguments)
        except FileNotFoundError:
            raise click.UsageError(f"{self._path} is missing; --traffic needs the files that its help lists") from None
        except (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError, TypeError) as error:
            raise click.UsageError(f"{self._path} is not in the expected format: {error!r}") from error

    def bytes(self, name: str) -> bytes:
        self._path = self._directory / name
        content = self._path.read_bytes()
        return gzip.decompress(content) if name.endswith(".gz") else content

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        return csv.DictReader(io.StringIO(self.bytes(name).decode()))

    def lines(self, name: str) -> Iterator[Any]:
        return (json.loads(line) for line in self.bytes(name).splitlines() if line.strip())


def _half(pool: str, client: str) -> int:
    return zlib.crc32(f"{pool}/{client}".encode()) % 2


def _customers(read: _Reader, part: int) -> tuple[Customer, ...]:
    windows: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for row in read.rows("servegen/client_rates.csv.gz"):
        if _half(row["pool"], row["client"]) == part:
            place = int(float(row["t_s"])) // WINDOW_SECONDS
            windows[row["pool"], row["client"]].append((place, float(row["rate_rps"]), float(row["cv"] or 1.0)))
    tokens: dict[tuple[str, str, str], list[Floats]] = defaultdict(list)
    for row in read.rows("servegen/client_token_quantiles.csv.gz"):
        if row["field"] in {"input_tokens", "text_tokens", "output_tokens"}:
            side = "out" if row["field"] == "output_tokens" else "in"
            tokens[row["pool"], row["client"], side].append(np.array([float(row[f"q{q}"]) for q in QUANTILES]))
    length = 1 + max(place for some in windows.values() for place, _, _ in some)
    found = []
    for (pool, client), some in windows.items():
        rates, cv = np.zeros(length), np.ones(length)
        for place, rate, variation in some:
            rates[place], cv[place] = rate, variation
        mean_in, mean_out = (
            np.mean(tokens[pool, client, side], axis=0) if tokens[pool, client, side] else np.zeros(0)
            for side in ("in", "out")
        )
        found.append(Customer(rates, np.nan_to_num(cv, nan=1.0), mean_in, mean_out))
    return tuple(found)


def _azure(read: _Reader, name: str) -> Ints:
    rows = read.rows(f"azure_llm_2023/AzureLLMInferenceTrace_{name}.csv.gz")
    return np.array([(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows], dtype=np.int64)


def _turns(read: _Reader) -> Ints:
    """Lengths of conversations: a request goes on with another whose blocks, but for the last, begin its own."""
    ends: dict[tuple[int, ...], int] = {}
    length: list[int] = []
    last: list[bool] = []
    for request in read.lines("mooncake_conv/conversation_trace.jsonl.gz"):
        blocks = tuple(request["hash_ids"])
        before = next((ends[blocks[:size]] for size in range(len(blocks), 1, -1) if blocks[:size] in ends), None)
        if before is not None:
            last[before] = False
        length.append(1 if before is None else length[before] + 1)
        last.append(True)
        if len(blocks) > 2:
            ends[blocks[:-1]] = len(length) - 1
    lengths: Ints = np.array(length, dtype=np.int64)[np.array(last)]
    return lengths


def _agents(read: _Reader) -> tuple[tuple[str, float], ...]:
    rows = read.rows("useragents/intoli_user_agents.csv.gz")
    seen: dict[str, float] = defaultdict(float)
    for row in rows:
        seen[row["user_agent"]] += float(row["weight"])
    return tuple(sorted(seen.items(), key=lambda item: (-item[1], item[0]))[: 2 * _AGENTS])


def _fingerprints(read: _Reader, wanted: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    found = []
    for row in read.rows("tls/tls_fingerprints.csv.gz"):
        process = row["top_processes(process:category:count)"].split("|")[0].split(":")[0].lower()
        if process.startswith(wanted) or process.startswith("google chrome"):
            browser = not process.startswith(_RUNTIMES)
            if browser == (wanted is _BROWSERS):
                found.append((row["md5_of_str"], float(row["total_count"])))
    return tuple(sorted(found, key=lambda item: (-item[1], item[0]))[:_COMMON])


def _texts(read: _Reader) -> dict[str, tuple[str, ...]]:
    def instructions(rows: Any) -> tuple[str, ...]:  # noqa: ANN401  # parsed JSON
        joined = ("\n\n".join(part for part in (row["instruction"], row.get("input", "")) if part) for row in rows)
        return tuple(dict.fromkeys(joined))

    def seeds(name: str) -> tuple[str, ...]:
        rows = read.lines(name)
        return instructions({"instruction": row["instruction"], "input": row["instances"][0]["input"]} for row in rows)

    return {
        "alpaca": instructions(json.loads(read.bytes("alpaca/alpaca_4000.json.gz"))),
        "alpaca-seeds": seeds("alpaca/seed_tasks.jsonl"),
        "codealpaca": instructions(json.loads(read.bytes("codealpaca/new_codealpaca.json.gz"))),
        "codealpaca-first": instructions(json.loads(read.bytes("codealpaca/code_alpaca_2k.json.gz"))),
        "codealpaca-seeds": seeds("codealpaca/seed_tasks.jsonl"),
        "gsm8k": tuple(row["question"] for row in read.lines("gsm8k/train.jsonl.gz")),
        "gsm8k-test": tuple(row["question"] for row in read.lines("gsm8k/test.jsonl.gz")),
    }


def _templates(read: _Reader) -> dict[str, tuple[str, ...]]:
    """Templates with one mark, ``{}``, for what changes."""
    found = json.loads(read.bytes("evol_baize_templates/templates.json"))
    mark = "{instruction}"
    depth = [found["evol_depth"].replace("{method}", method) for method in found["evol_depth_methods"].values()]
    generators = {
        f"{name}-generator": (read.bytes(f"{name}/prompt.txt").decode().strip() + "\n{}",)
        for name in ("alpaca", "codealpaca")
    }
    return {
        "evol": tuple(one.replace(mark, "{}") for one in (*depth, found["evol_breadth"])),
        "baize": (found["baize_selfchat"].replace("{topic}", "{}"),),
        **generators,
    }
