"""The honest background with the statistics of real traces in place of the simulator's own.

Kept from the simulator: organisations, countries, networks, plans, payment, sign-ups and the people's day. From the
traces: when and how much services ask, tokens of everyone, lengths of conversations, browsers' user agents, TLS
fingerprints by frequency, and a part of what people ask: real questions, as people copy them, mostly with words of
their own around them. Nobody publishes what honest people really ask, so the rest stays the simulator's grammar.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.simulate.background import background_cohort, give_product_prompt, note_shared
from stream_guard.simulate.clients import CHROME, FIREFOX, PHONE_APP_A, SAFARI, VERSIONS, Client
from stream_guard.simulate.honest import honest_block
from stream_guard.simulate.model import DAY, SECOND
from stream_guard.simulate.personas import INDEX
from stream_guard.simulate.population import organisation, populate
from stream_guard.simulate.prompts import CHAT, CODE, MATHS, Edited, PromptBook
from stream_guard.simulate.schedule import Timeline, timeline
from stream_guard.simulate.traces.read import QUANTILES, WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.simulate.cohort import Cohort
    from stream_guard.simulate.model import Block, Ints, Rng
    from stream_guard.simulate.traces.read import Customer, Traces
    from stream_guard.simulate.world import World

_WINDOWS_PER_DAY: Final = DAY // (WINDOW_SECONDS * SECOND)
_REAL_QUESTIONS: Final = 0.3
_EVALUATORS: Final = 20


class Listed:
    """A list of questions in its order: the key counts through it."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[str]) -> None:
        self._items = items

    def render(self, key: int) -> str:
        """Give the item of a key.

        Args:
            key: any integer.

        Returns:
            The prompt.
        """
        return self._items[key % len(self._items)]


def add_real_background(world: World, traces: Traces, questions: Sequence[str]) -> None:
    """Add the honest background, and an honest evaluator: 20 service accounts that go through a public test set.

    Args:
        world: where to.
        traces: of the split.
        questions: what people ask besides the simulator's grammar.
    """
    rng = world.rng("traces")
    cohort = background_cohort(world)
    _real_clients(world, rng, cohort, traces)
    give_product_prompt(world, cohort)
    block = _real_block(world, rng, cohort, traces)
    block = _real_questions(world, rng, block, questions)
    note_shared(world, cohort, block)
    world.blocks += [block, _evaluator(world, rng, traces)]


def _real_clients(world: World, rng: Rng, cohort: Cohort, traces: Traces) -> None:
    """Give browsers real user agents, and all software real TLS fingerprints by their frequency."""
    first = len(world.clients)
    tls = [name for name, _ in traces.browsers]
    weights = np.sqrt([count for _, count in traces.browsers])  # enterprise-biased: a few products lead by far
    chosen = rng.choice(len(tls), size=len(traces.agents), p=weights / weights.sum()).tolist()
    for (agent, _), which in zip(traces.agents, chosen, strict=True):
        world.add_client(Client(f"tls_{tls[which]}", f"h_{tls[which][:12]}", agent))
    share = np.array([weight for _, weight in traces.agents])
    browser = np.isin(cohort.client // VERSIONS, [CHROME, SAFARI, FIREFOX])
    cohort.client[browser] = first + rng.choice(len(share), size=int(browser.sum()), p=share / share.sum())
    apps = cohort.second_client // VERSIONS >= PHONE_APP_A
    cohort.second_client[~apps & browser] = cohort.client[~apps & browser]

    runtimes = [name for name, _ in traces.runtimes]
    frequency = np.sqrt([count for _, count in traces.runtimes])
    machine = np.flatnonzero(np.isin(cohort.persona, [INDEX["service"], INDEX["batch"]]))
    own = machine[rng.random(len(machine)) < 0.5]  # the other half brings the product's own SDK, unchanged
    which = rng.choice(len(runtimes), size=len(own), p=frequency / frequency.sum()).tolist()
    for row, runtime in zip(own.tolist(), which, strict=True):
        base = world.clients[int(cohort.client[row])]
        cohort.client[row] = world.add_client(replace(base, tls_fp=f"tls_{runtimes[runtime]}"))
        cohort.second_client[row] = cohort.client[row]


def _real_block(world: World, rng: Rng, cohort: Cohort, traces: Traces) -> Block:
    machine = np.isin(cohort.persona, [INDEX["service"], INDEX["batch"]])
    people = timeline(world, cohort, world.rng("background-events"), lengths=traces.turns)
    keep = ~machine[people.row]
    customer = rng.integers(0, len(traces.customers), size=len(cohort))
    theirs = _machine_times(world, rng, cohort, np.flatnonzero(machine), customer, traces.customers)
    offset = int(people.session.max(initial=-1)) + 1
    times = Timeline(
        ts=np.concatenate([people.ts[keep], theirs.ts]),
        row=np.concatenate([people.row[keep], theirs.row]),
        session=np.concatenate([people.session[keep], theirs.session + offset]),
        turn=np.concatenate([people.turn[keep], theirs.turn]),
    )
    block = honest_block(world, cohort, world.rng("background-events"), times)
    return _real_tokens(rng, cohort, block, times.row, customer, traces)


def _machine_times(  # noqa: PLR0913, PLR0917  # private; what the one caller has at hand
    world: World, rng: Rng, cohort: Cohort, machines: Ints, customer: Ints, customers: Sequence[Customer]
) -> Timeline:
    """Give each service the rate curve of a real client, from a day on that is drawn, rescaled to its own volume.

    The number of requests of a window has the variance of a renewal process (mean times squared coefficient of
    variation); the gaps inside it are gamma with the same coefficient.
    """
    windows = int(np.ceil(world.options.days * _WINDOWS_PER_DAY))
    times, rows = [], []
    for row in machines.tolist():
        one = customers[int(customer[row])]
        days = len(one.rates) // _WINDOWS_PER_DAY
        begin = int(rng.integers(max(1, days - int(world.options.days)))) * _WINDOWS_PER_DAY
        place = (begin + np.arange(windows)) % len(one.rates)
        shape = one.rates[place] / max(float(one.rates.mean()), 1e-9)
        mean = cohort.rate[row] / _WINDOWS_PER_DAY * shape
        variation = np.clip(one.cv[place] ** 2, 0.05, 20.0)
        mixed = np.where(variation > 1.0, rng.gamma(np.maximum(mean, 1e-9) / variation, variation), mean)
        count = rng.poisson(np.minimum(mixed, 3_000.0))
        for window in np.flatnonzero(count).tolist():
            gaps = rng.gamma(1.0 / variation[window], size=int(count[window]) + 1) + 1e-9
            inside = np.cumsum(gaps)[:-1] / gaps.sum()
            times.append(world.start + ((window + inside) * WINDOW_SECONDS * SECOND).astype(np.int64))
            rows.append(np.full(len(inside), row, dtype=np.int64))
    ts = np.concatenate(times) if times else np.zeros(0, dtype=np.int64)
    of = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    alive = (ts >= cohort.starts[of]) & (ts < world.end)
    ts, of = ts[alive], of[alive]
    return Timeline(ts, of, np.arange(len(ts), dtype=np.int64), np.zeros(len(ts), dtype=np.int64))


def _real_tokens(  # noqa: PLR0913, PLR0917  # private; what the one caller has at hand
    rng: Rng, cohort: Cohort, block: Block, row: Ints, customer: Ints, traces: Traces
) -> Block:
    """Draw tokens: people's pairs from the traces, services' from their client's quantiles."""
    persona = cohort.persona[row]
    tokens_in, tokens_out = block.tokens_in.copy(), block.tokens_out.copy()
    for chosen, pairs in (
        (persona == INDEX["developer"], traces.code),
        (np.isin(persona, [INDEX[name] for name in ("home", "student", "office", "trial")]), traces.chat),
    ):
        drawn = pairs[rng.integers(len(pairs), size=int(chosen.sum()))]
        tokens_in[chosen], tokens_out[chosen] = drawn[:, 0], drawn[:, 1]
    machines = np.flatnonzero(np.isin(persona, [INDEX["service"], INDEX["batch"]]))
    order = machines[np.argsort(customer[row[machines]], kind="stable")]
    of, first = np.unique(customer[row[order]], return_index=True)
    for number, some in zip(of.tolist(), np.split(order, first[1:]), strict=True):
        one = traces.customers[number]
        if len(one.tokens_in) and len(one.tokens_out):
            level = rng.random(len(some)) * 100.0
            tokens_in[some] = np.interp(level, QUANTILES, one.tokens_in)
            tokens_out[some] = np.interp(rng.random(len(some)) * 100.0, QUANTILES, one.tokens_out)
    tokens_out = np.where(block.status == 200, np.clip(tokens_out, 1, 16_000), 0)
    return block.replace(tokens_in=np.clip(tokens_in, 1, 190_000), tokens_out=tokens_out)


def _real_questions(world: World, rng: Rng, block: Block, questions: Sequence[str]) -> Block:
    """Let a part of the English chat, code and maths questions of people be real ones."""
    standard = [PromptBook.standard(kind, 0) for kind in (CHAT, CODE, MATHS)]
    real = world.book.add(Edited(Listed(questions)))
    chosen = np.isin(block.source, standard) & (rng.random(len(block)) < _REAL_QUESTIONS)
    return block.replace(source=np.where(chosen, real, block.source))


def _evaluator(world: World, rng: Rng, traces: Traces) -> Block:
    """Honest accounts of one organisation that run a public test set, over and over."""
    tests = world.book.add(Listed(traces.texts["gsm8k-test"]))
    group = replace(
        organisation(world, rng, "US"),
        persona="batch",
        own=tests,
        system=world.add_system_prompt(int(rng.integers(1 << 62))),
        plan=("enterprise", 200_000),
        rate=np.full(_EVALUATORS, 120.0),
    )
    cohort = populate(world, rng, group, _EVALUATORS)
    world.add_benign("evaluator", cohort.account)
    return honest_block(world, cohort, rng)
