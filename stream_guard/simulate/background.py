"""The honest background: people, organisations, universities and services of every scenario."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.simulate.clients import CODING_CLI, NODE_SDK, PYTHON_SDK, VERSIONS
from stream_guard.simulate.cohort import Cohort, stack
from stream_guard.simulate.honest import honest_block
from stream_guard.simulate.personas import INDEX, PERSONAS
from stream_guard.simulate.places import COUNTRIES
from stream_guard.simulate.population import Group, organisation, populate
from stream_guard.simulate.prompts import AGENT, CHAT, CODE, MATHS, SUPPORT

if TYPE_CHECKING:
    from stream_guard.simulate.model import Block, Rng
    from stream_guard.simulate.world import World

_APP_KINDS: Final = (CHAT, SUPPORT, CODE, MATHS, AGENT, SUPPORT, CHAT)
_NOTABLE: Final = 50


def _pick_country(rng: Rng) -> str:
    shares = np.array([country.share for country in COUNTRIES])
    return COUNTRIES[int(rng.choice(len(COUNTRIES), p=shares / shares.sum()))].code


def _app(world: World, rng: Rng) -> int:
    return world.book.add_app(int(rng.integers(1 << 62)), _APP_KINDS[int(rng.integers(len(_APP_KINDS)))])


def _organisations(world: World, rng: Rng, members: dict[str, int]) -> list[Cohort]:
    """Fill organisations of heavy-tailed size until the given numbers of members are placed."""
    cohorts = []
    left = dict(members)
    number = 0
    while any(left.values()):
        number += 1
        size = int(min(4 * (1 - rng.random()) ** (-1 / 1.15), 700))
        country = _pick_country(rng)
        office = world.network.add(rng, country, "corporate", 1 + int(size > 120) + int(size > 400), networks=1)
        has_prompt = rng.random() < 0.3
        owner = organisation(world, rng, country)
        own = _app(world, rng) if has_prompt else -1
        system = world.add_system_prompt(world.options.seed, number) if has_prompt else -1
        mine = []
        for persona, wish in (
            ("office", size),
            ("developer", round(size * rng.random() * 0.5)),
            ("service", size // 9),
        ):
            count = min(left.get(persona, 0), max(wish, 1 if persona == "developer" and not left["office"] else 0))
            if persona == "service" and not left["office"]:
                count = min(left["service"], 1 + int(rng.integers(3)))
            if count:
                left[persona] -= count
                at_work = 0.85 if persona == "office" else 0.6
                group = replace(owner, persona=persona, office=office, office_share=at_work, own=own, system=system)
                if persona == "service":
                    prompt = world.add_system_prompt(world.options.seed, number, 1)
                    group = replace(group, office=None, own=_app(world, rng), system=prompt)
                mine.append(populate(world, rng, group, count))
        cohorts += mine
        accounts = np.concatenate([one.account for one in mine]) if mine else np.zeros(0, dtype=np.int64)
        if len(accounts) > _NOTABLE:
            world.add_benign(f"organisation-{number}", accounts)
    return cohorts


def _universities(world: World, rng: Rng, count: int) -> list[Cohort]:
    cohorts = []
    while count > 0:
        size = min(count, int(rng.integers(20, 300)))
        country = _pick_country(rng)
        campus = world.network.add(rng, country, "education", 6, networks=2)
        credit = "education" if rng.random() < 0.15 else None
        group = Group("student", country, office=campus, office_share=0.4, credit_program=credit)
        cohorts.append(populate(world, rng, group, size))
        if size > _NOTABLE:
            world.add_benign(f"university-{len(cohorts)}", cohorts[-1].account)
        count -= size
    return cohorts


def _private(world: World, rng: Rng, persona: str, count: int) -> list[Cohort]:
    shares = np.array([country.share for country in COUNTRIES])
    counts = rng.multinomial(count, shares / shares.sum())
    return [
        populate(world, rng, Group(persona, country.code), int(number))
        for country, number in zip(COUNTRIES, counts, strict=True)
        if number
    ]


def _lone_services(world: World, rng: Rng, persona: str, count: int) -> list[Cohort]:
    return [
        populate(
            world,
            rng,
            Group(
                persona, _pick_country(rng), own=_app(world, rng), system=world.add_system_prompt(number, len(persona))
            ),
            1,
        )
        for number in range(count)
    ]


def background_cohort(world: World) -> Cohort:
    """Make the accounts of the background.

    Args:
        world: tables to add to.

    Returns:
        All of them in one cohort.
    """
    rng = world.rng("background")
    total = world.options.background_accounts
    counts = {kind.name: round(total * kind.share) for kind in PERSONAS}
    counts["home"] += total - sum(counts.values())
    in_orgs = {"office": counts["office"], "developer": round(counts["developer"] * 0.5),
               "service": round(counts["service"] * 0.8)}  # fmt: skip
    cohorts = _private(world, rng, "home", counts["home"])
    cohorts += _private(world, rng, "trial", counts["trial"])
    cohorts += _private(world, rng, "developer", counts["developer"] - in_orgs["developer"])
    cohorts += _universities(world, rng, counts["student"])
    cohorts += _lone_services(world, rng, "service", counts["service"] - in_orgs["service"])
    cohorts += _lone_services(world, rng, "batch", counts["batch"])
    cohorts += _organisations(world, rng, in_orgs)
    cohort = stack(cohorts)
    _rank_services(world, rng, cohort)
    return cohort


def _rank_services(world: World, rng: Rng, cohort: Cohort) -> None:
    """Give services rates by rank, so that every seed has the same heavy tail: ten carry about half of their traffic.

    ServeGen: ten clients carry 63 to 93 % of a pool; Hill exponent of client volumes 0.6 to 1.1 in four of five.
    """
    services = np.flatnonzero(cohort.persona == INDEX["service"])
    weights = np.arange(1, len(services) + 1) ** (-1 / 0.9)
    total = PERSONAS[INDEX["service"]].rate_per_day * len(services) * world.options.background_scale
    cohort.rate[rng.permutation(services)] = total * weights / max(weights.sum(), 1.0)


def note_shared(world: World, cohort: Cohort, block: Block) -> None:
    """Note carriers and SDKs which many honest accounts share as benign groups.

    Args:
        world: where to note them.
        cohort: honest accounts.
        block: their events.
    """
    for country in sorted(country.code for country in COUNTRIES):
        for which in (0, 1):
            seen = np.unique(block.account[np.isin(block.address, world.network.carrier(country, which))])
            if len(seen) > _NOTABLE:
                world.add_benign(f"carrier-{country}-{which}", seen)
    for tls in sorted({client.tls_fp for client in world.clients}):
        sharing = np.array([client.tls_fp == tls for client in world.clients])
        users = cohort.account[sharing[cohort.client]]
        if len(users) > _NOTABLE:
            world.add_benign(f"sdk-{tls}", users)


def give_product_prompt(world: World, cohort: Cohort) -> None:
    """Give users of the coding tool the one system prompt that it brings.

    Args:
        world: where to register it.
        cohort: honest accounts.
    """
    product_prompt = world.add_system_prompt(CODING_CLI)
    cohort.system[(cohort.client // VERSIONS == CODING_CLI) & (cohort.system < 0)] = product_prompt


def add_background(world: World, *, sdk_share: float = 0.0) -> tuple[Cohort, Block]:
    """Add the honest background to a world.

    Args:
        world: where to.
        sdk_share: when positive, this share of the traffic comes from one and the same SDK release.

    Returns:
        Its cohort and its events; the events are not yet part of the world.
    """
    cohort = background_cohort(world)
    give_product_prompt(world, cohort)
    if sdk_share:
        rng = world.rng("popular-sdk")
        release = PYTHON_SDK * VERSIONS + VERSIONS - 1
        order = rng.permutation(len(cohort))
        order = order[np.argsort(cohort.persona[order] == INDEX["home"], kind="stable")]  # home users last
        reached = np.cumsum(cohort.rate[order]) / cohort.rate.sum()
        cohort.client[order] = np.where(reached <= sdk_share, release, cohort.client[order])
        # Other releases of the SDK make way for another stack: one fingerprint, one share.
        others = (cohort.client // VERSIONS == PYTHON_SDK) & (cohort.client != release)
        cohort.client[others] += (NODE_SDK - PYTHON_SDK) * VERSIONS
        cohort.client[order[(reached > sdk_share) & (cohort.client[order] == release)]] = NODE_SDK * VERSIONS
        machines = ~np.isin(cohort.persona, [INDEX["home"], INDEX["student"]])
        cohort.second_client[machines] = cohort.client[machines]
    block = honest_block(world, cohort, world.rng("background-events"))
    note_shared(world, cohort, block)
    return cohort, block
