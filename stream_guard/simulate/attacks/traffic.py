"""From the work of a relay to the events of a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.simulate.grammar import Template, load, mix
from stream_guard.simulate.honest import SESSION_SPAN, latencies
from stream_guard.simulate.model import CAPABILITIES, FLAGS, MODELS, Block, Ints, Rng
from stream_guard.simulate.places import LANGUAGES
from stream_guard.simulate.prompts import CHAT, Foreign, Free, Mixture, PromptBook, Source

if TYPE_CHECKING:
    from stream_guard.simulate.attacks.campaign import Campaign, Members, Shares
    from stream_guard.simulate.pool import Work
    from stream_guard.simulate.world import World

_FREE = frozenset({"items", "paraphrase", "question", "agent", "spec"})


def draw_shares(rng: Rng, shares: Shares, names: tuple[str, ...], count: int) -> Ints:
    """Draw indices of names in given shares.

    Args:
        rng: where choices come from.
        shares: name and share.
        names: the table that the result points into.
        count: how many.

    Returns:
        Indices.
    """
    values = np.array([names.index(name) for name, _ in shares], dtype=np.int64)
    weights = np.array([share for _, share in shares])
    drawn: Ints = values[rng.choice(len(values), size=count, p=weights / weights.sum())]
    return drawn


def add_sources(book: PromptBook, campaign: Campaign, salt: int) -> dict[tuple[str, int], int]:
    """Register the prompts of a campaign, one source per family and language.

    Args:
        book: where to register.
        campaign: its families and languages, and how many wordings each template has.
        salt: fixes the wordings of the templates.

    Returns:
        Index of the source by family and language.
    """
    found = {}
    grammar = load("attack")
    for number, (family, _) in enumerate(campaign.families):
        wordings = [Template(grammar, family, mix(salt + number + 101 * i)) for i in range(campaign.wordings)]
        for code, _ in campaign.languages:
            language = LANGUAGES.index(code)
            foreign = book.sources[book.standard(CHAT, language)]
            source: Source
            if family in _FREE:
                source = Free(grammar, family) if code == "en" else foreign
            else:
                choices: list[Source] = [one if code == "en" else Foreign(one, foreign) for one in wordings]
                source = Mixture(choices, [1 / len(choices)] * len(choices))
            found[family, language] = book.add(source)
    return found


def _flag_bits(rng: Rng, campaign: Campaign, family: Ints, count: int) -> Ints:
    bits = (rng.random(count) < campaign.refusals).astype(np.int64)
    names = [name for name, _ in campaign.families]
    if "cot" in names:  # upstream tags some of the requests that ask for the reasoning
        bits |= ((family == names.index("cot")) & (rng.random(count) < 0.35)).astype(np.int64) * 2
    for name, share in campaign.flags:
        bits |= (rng.random(count) < share).astype(np.int64) * (1 << FLAGS.index(name))
    return bits


def _limits(campaign: Campaign, family: Ints, member: Ints, salt: int) -> Ints:
    """Give each family its token limit; accounts made to look different have limits of their own."""
    offset = member * 7 % 4 if campaign.client == "varied" else family
    limits: Ints = np.array([4096, -1, 8192, 1024], dtype=np.int64)[(offset + salt % 3) % 4]
    return limits


def _session_draw(rng: Rng, session: Ints) -> tuple[Ints, Ints]:
    """Give each distinct session a number and each row the number of its session."""
    distinct, inverse = np.unique(session, return_inverse=True)
    return rng.integers(0, 1 << 40, size=len(distinct)), inverse.astype(np.int64)


def campaign_block(world: World, rng: Rng, campaign: Campaign, members: Members, work: Work) -> Block:
    """Fill the columns of a campaign's events.

    Args:
        world: tables that indices point into.
        rng: where choices come from.
        campaign: what it sends.
        members: who sends.
        work: when, and by which member.

    Returns:
        The events.
    """
    count = len(work.ts)
    salt = int(rng.integers(1 << 60))
    sources = add_sources(world.book, campaign, salt)
    roll, inverse = _session_draw(rng, work.session)
    names = tuple(name for name, _ in campaign.families)
    family = draw_shares(rng, campaign.families, names, len(roll))[inverse]
    language = draw_shares(rng, campaign.languages, LANGUAGES, len(roll))[inverse]
    table = np.array(
        [[sources.get((name, lang), -1) for lang in range(len(LANGUAGES))] for name in names], dtype=np.int64
    )
    capability = draw_shares(rng, campaign.capabilities, CAPABILITIES, len(roll))[inverse]
    # A rotating proxy gives a session any exit; a sticky one keeps the exit of the account.
    per_exit = roll[inverse] if campaign.rotate_exits else work.member
    tokens_out = np.minimum(np.exp(rng.normal(*campaign.tokens_out, size=count)), 16_000).astype(np.int64)
    tokens_out = np.where(work.status == 200, tokens_out, 0)
    key = salt + np.arange(count, dtype=np.int64)  # items in order: shards over the accounts are disjoint
    repeated = np.flatnonzero((work.status[:-1] != 200) & (work.session[1:] == work.session[:-1])) + 1
    key[repeated] = key[repeated - 1]  # a sibling repeats what failed
    system = world.add_system_prompt(salt) if campaign.system_prompt else -1
    agentic = (capability == CAPABILITIES.index("agentic")) | (capability == CAPABILITIES.index("tool_use"))
    return Block(
        ts=work.ts,
        account=members.account[work.member],
        session=work.session + int(rng.integers(1 << 28)) * SESSION_SPAN,
        address=members.exits[per_exit % len(members.exits)],
        client=members.client[work.member],
        model=draw_shares(rng, campaign.models, MODELS, count),
        capability=capability,
        language=language,
        source=table[family, language],
        key=key,
        tokens_in=np.exp(rng.normal(*campaign.tokens_in, size=count)).astype(np.int64),
        tokens_out=tokens_out,
        max_tokens=_limits(campaign, family, work.member, salt),
        tools=np.where(agentic, 6 + salt % 7, 0),
        system=np.full(count, system, dtype=np.int64),
        status=work.status,
        latency=latencies(rng, tokens_out),
        flags=_flag_bits(rng, campaign, family, count),
    )
