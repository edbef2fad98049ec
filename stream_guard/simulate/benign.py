"""Honest groups that look suspicious: B1 to B10 of the scenarios."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.simulate.attacks.campaign import burst_times, enlist
from stream_guard.simulate.attacks.mixtures import resold_block
from stream_guard.simulate.attacks.pivots import adopt, release, release_time
from stream_guard.simulate.attacks.plain import plain_work, warm_up_end
from stream_guard.simulate.attacks.table import S11
from stream_guard.simulate.clients import PHONE_APP_B, PYTHON_SDK, VERSIONS, Client, fingerprint
from stream_guard.simulate.cohort import stack
from stream_guard.simulate.honest import honest_block
from stream_guard.simulate.model import CAPABILITIES, DAY, EPOCH, HOUR
from stream_guard.simulate.places import COUNTRIES
from stream_guard.simulate.population import Group, organisation, populate
from stream_guard.simulate.prompts import CHAT, CODE, MATHS, SUPPORT, AppTemplate, Edited, FixedList, PromptBook

if TYPE_CHECKING:
    from stream_guard.simulate.attacks.campaign import Campaign
    from stream_guard.simulate.cohort import Cohort
    from stream_guard.simulate.model import Floats, Ints, Rng
    from stream_guard.simulate.world import World

_LAST_VERSION = VERSIONS - 1
_REASONING = CAPABILITIES.index("reasoning")


def _finish(world: World, rng: Rng, label: str, cohort: Cohort) -> None:
    world.blocks.append(honest_block(world, cohort, rng))
    world.add_benign(label, cohort.account)


def _rates(rng: Rng, median: float, sigma: float, count: int) -> Floats:
    drawn: Floats = np.minimum(median * np.exp(rng.normal(0, sigma, size=count)), 2000.0)
    return drawn


def staff_behind_nat(world: World, share: float = 1.0) -> None:
    """B1: 3,000 staff of one organisation behind one address."""
    rng = world.rng("B1")
    office = world.network.add(rng, "DE", "corporate", 1)
    owner = organisation(world, rng, "DE")
    count = world.scaled(round(3000 * share), 60)
    own = world.book.add_app(int(rng.integers(1 << 62)), CHAT)
    system = world.add_system_prompt(int(rng.integers(1 << 62)))
    coders = max(5, count // 8)
    shape = replace(owner, office=office, office_share=0.96, own=own, system=system)
    cohorts = [
        populate(world, rng, replace(shape, persona=persona), size)
        for persona, size in (("office", count - coders), ("developer", coders))
    ]
    _finish(world, rng, "B1-staff-behind-nat", stack(cohorts))


def course(world: World) -> None:
    """B2: 400 new .edu accounts in a day, the same exercises."""
    rng = world.rng("B2")
    count = world.scaled(400, 30)
    first = warm_up_end(world) + 8 * HOUR if world.options.days >= 1.5 else world.start + 2 * HOUR
    created = np.sort(first + rng.integers(0, 5 * HOUR, size=count))
    sheet = FixedList(int(rng.integers(1 << 62)), world.book.sources[PromptBook.standard(MATHS, 0)], 14)
    own = world.book.add(Edited(sheet))
    campus = world.network.add(rng, "US", "education", 4, networks=1)
    group = Group("student", "US", email_class="edu", plan=("free", 60), credit_program="education", office=campus,
                  office_share=0.7, own=own, rate=_rates(rng, 7.0, 0.5, count), created=created)  # fmt: skip
    cohort = populate(world, rng, group, count)
    block = honest_block(world, replace(cohort, starts=created), rng)
    exercise = rng.random(len(block)) < 0.6
    block = block.replace(source=np.where(exercise, own, block.source), language=np.where(exercise, 0, block.language))
    world.blocks.append(block)
    world.add_benign("B2-course", cohort.account)


def viral_tutorial(world: World) -> None:
    """B2-viral: a tutorial goes viral: new accounts from everywhere try its template a few times, each with its own."""
    _go_viral(world, world.rng("B2-viral"), "B2-viral-tutorial", Group("home", "US"), share=0.8)


def viral_app(world: World) -> None:
    """B2-app: an app goes viral whose users bring their own keys: one client, system prompt, template and purpose."""
    rng = world.rng("B2-app")
    _go_viral(world, rng, "B2-app-users", _app(world, rng), share=1.0, capability=_REASONING)


def hosted_app(world: World) -> None:
    """B2-hosted: the same with servers of its own, which ask with its users' keys: one network, too."""
    rng = world.rng("B2-hosted")
    servers = world.network.add(rng, "US", "datacenter", 4, networks=1)
    group = replace(_app(world, rng), office=servers, office_share=1.0)
    _go_viral(world, rng, "B2-hosted-users", group, share=1.0, capability=_REASONING)


def _app(world: World, rng: Rng) -> Group:
    """Users of one program, at home."""
    tls, header, agent = (fingerprint(prefix, int(rng.integers(1 << 62))) for prefix in ("t13d1516h2_", "h_", "app/"))
    client, system = world.add_client(Client(tls, header, agent)), world.add_system_prompt(int(rng.integers(1 << 62)))
    return Group("home", "US", client=client, system=system)


def _go_viral(  # noqa: PLR0913  # private; what its two callers differ in
    world: World, rng: Rng, label: str, shape: Group, *, share: float, capability: int | None = None
) -> None:
    """New accounts of one shape ask a share of what they ask in one template."""
    count = world.scaled(800, 60)
    first = warm_up_end(world) + 8 * HOUR if world.options.days >= 1.5 else world.start + 2 * HOUR
    own = world.book.add(AppTemplate(int(rng.integers(1 << 62)), world.book.sources[PromptBook.standard(CHAT, 0)]))
    shares = np.array([country.share for country in COUNTRIES])
    cohorts = []
    for country, number in zip(COUNTRIES, rng.multinomial(count, shares / shares.sum()).tolist(), strict=True):
        if number:
            created = np.sort(first + rng.integers(0, max(HOUR, min(DAY, world.end - first)), size=number))
            rate = _rates(rng, 3.0, 0.8, number)
            group = replace(shape, country=country.code, own=own, rate=rate, created=created)
            cohorts.append(replace(populate(world, rng, group, number), starts=created))
    cohort = stack(cohorts)
    block = honest_block(world, cohort, rng)
    tried = rng.random(len(block)) < share
    asked = {"source": own, "language": 0} | ({} if capability is None else {"capability": capability})
    world.blocks.append(
        block.replace(**{name: np.where(tried, value, getattr(block, name)) for name, value in asked.items()})
    )
    world.add_benign(label, cohort.account)


def hackathon(world: World) -> None:
    """B3: a weekend, one hall, credit for everybody, new accounts at full use at once."""
    rng = world.rng("B3")
    count = world.scaled(250, 30)
    friday = 4 * DAY + 16 * HOUR
    opening = world.start + (friday if world.options.days > 5.5 else int(world.options.days * DAY * 0.5))
    created = np.sort(opening - HOUR + rng.integers(0, 4 * HOUR, size=count))
    hall = world.network.add(rng, "US", "corporate", 2, networks=1)
    group = Group("developer", "US", plan=("trial", 2000), credit_program="hackathon", office=hall, office_share=0.9,
                  rate=_rates(rng, 90.0, 0.9, count), created=created)  # fmt: skip
    cohort = populate(world, rng, group, count)
    block = honest_block(world, replace(cohort, starts=created), rng)
    # A part of the sessions falls into the night: nobody sleeps much.
    spot = (block.session * 2654435761 % 1_000_003).astype(np.int64)
    night = opening + 4 * HOUR + spot * 10_007 % max(world.end - opening - 4 * HOUR, 1) + block.ts % HOUR
    moved = np.where(spot % 5 > 0, block.ts, night)
    owner_start = np.zeros(len(world.accounts), dtype=np.int64)
    owner_start[cohort.account] = created
    world.blocks.append(block.replace(ts=np.maximum(moved, owner_start[block.account] + HOUR // 4)))
    world.add_benign("B3-hackathon", cohort.account)


def harness(world: World) -> None:
    """B4: an evaluation harness: one template and one list of tasks over 20 service accounts."""
    rng = world.rng("B4")
    count = world.scaled(20, 8)
    tasks = FixedList(int(rng.integers(1 << 62)), world.book.sources[PromptBook.standard(CODE, 0)], 400)
    own = world.book.add(AppTemplate(int(rng.integers(1 << 62)), tasks))
    office = world.network.add(rng, "US", "datacenter", 3, networks=1)
    group = replace(
        organisation(world, rng, "US"),
        persona="batch",
        office=office,
        office_share=1.0,
        own=own,
        client=PYTHON_SDK * VERSIONS + _LAST_VERSION,
        system=world.add_system_prompt(int(rng.integers(1 << 62))),
        plan=("enterprise", 200_000),
        rate=_rates(rng, 500.0, 0.2, count),
    )
    _finish(world, rng, "B4-harness", populate(world, rng, group, count))


def support_product(world: World, share: float = 1.0) -> None:
    """B5: a customer-support product: one system prompt, many service accounts, millions of end users."""
    rng = world.rng("B5")
    owner, system = organisation(world, rng, "US"), world.add_system_prompt(int(rng.integers(1 << 62)))
    salt = int(rng.integers(1 << 62))
    cohorts = []
    for country, language, size in (("US", 0, 10), ("DE", 3, 4), ("ES", 2, 3), ("JP", 5, 3), ("BR", 8, 4)):
        count = world.scaled(round(size * share), 2)
        own = world.book.add(AppTemplate(salt, world.book.sources[PromptBook.standard(SUPPORT, language)]))
        group = replace(
            owner,
            persona="service",
            country=country,
            own=own,
            system=system,
            client=PYTHON_SDK * VERSIONS + 4,
            plan=("enterprise", 200_000),
            rate=_rates(rng, 900.0, 0.4, count),
        )
        cohorts.append(
            replace(populate(world, rng, group, count), language=np.full(count, language), english=np.zeros(count))
        )
    _finish(world, rng, "B5-support-product", stack(cohorts))


def plugin(world: World) -> None:
    """B5-plugin: a plug-in for shops, weeks old: each has a card, a key, mail and an organisation of its own."""
    rng = world.rng("B5-plugin")
    count = world.scaled(200, 60)
    tls, header, agent = (fingerprint(prefix, int(rng.integers(1 << 62))) for prefix in ("t13d1516h2_", "h_", "shop/"))
    shape = Group("service", "US", email_class="corporate", client=world.add_client(Client(tls, header, agent)),
                  own=world.book.add_app(int(rng.integers(1 << 62)), SUPPORT), plan=("pay_as_you_go", 5000),
                  system=world.add_system_prompt(int(rng.integers(1 << 62))))  # fmt: skip
    rates, ages = _rates(rng, 30.0, 1.3, count), rng.integers(0, 20 * DAY, size=(count, 1))
    shops = [
        replace(shape, org_id=organisation(world, rng, "US").org_id, rate=rates[shop : shop + 1], created=EPOCH - age)
        for shop, age in enumerate(ages)
    ]
    _finish(world, rng, "B5-plugin-shops", stack([populate(world, rng, shop, 1) for shop in shops]))


def reseller(world: World, share: float = 1.0) -> None:
    """B6: an honest reseller: a pool behind a relay, with many unrelated customers."""
    _resell(world, share, _RESELLER)


def new_reseller(world: World) -> None:
    """B6-new: the same, but all accounts are days old and on many cards. What an evasive pool looks like, too."""
    terms = replace(_RESELLER, label="B6-new-reseller", cards=20, sign_up_window_days=15.0, accounts_per_burst=25.0)
    _resell(world, 1.0, terms)


_RESELLER = replace(
    S11,
    label="B6-reseller",
    accounts=400,
    cards=4,
    client="relay",
    mails=(("corporate", 0.7), ("freemail", 0.3)),
    sign_up_window_days=300.0,
    accounts_per_burst=20.0,
)


def _resell(world: World, share: float, terms: Campaign) -> None:
    rng = world.rng("B6")
    count = world.scaled(round(terms.accounts * share), 30)
    members = enlist(world, rng, terms, burst_times(rng, terms, world.start, count))
    work = plain_work(world, rng, terms, count, (world.start, world.end))
    # End customers sleep: most of the night's sessions are missing.
    hour = (work.ts // HOUR + 8) % 24
    distinct, inverse = np.unique(work.session, return_inverse=True)
    kept = (rng.random(len(distinct))[inverse] < 0.3) | ((hour >= 8) & (hour < 24))
    block = resold_block(world, rng, terms, members, work)
    world.blocks.append(block.take(kept))
    world.add_benign(terms.label, members.account)


def launch_day(world: World) -> None:
    """B7: everyone tries the new model, many sign up for it."""
    rng = world.rng("B7")
    at = release_time(world)
    release(world, at)
    world.blocks[:] = [adopt(rng, block, at, 0.45) for block in world.blocks]
    count = world.scaled(1500, 60)
    shares = np.array([country.share for country in COUNTRIES])
    cohorts = []
    for country, number in zip(COUNTRIES, rng.multinomial(count, shares / shares.sum()).tolist(), strict=True):
        if number:
            created = np.sort(at + rng.integers(0, max(HOUR, min(DAY, world.end - at)), size=number))
            group = Group("home", country.code, rate=_rates(rng, 5.0, 1.0, number), created=created)
            cohorts.append(replace(populate(world, rng, group, number), starts=created))
    block = adopt(rng, honest_block(world, stack(cohorts), rng), at - DAY, 0.9)
    world.blocks.append(block)
    users = np.unique(np.concatenate([one.account[one.model == 4] for one in world.blocks]))
    world.add_benign("B7-launch-day", users)


def cron(world: World) -> None:
    """B8: batches of unrelated customers at the full hour."""
    rng = world.rng("B8")
    cohorts = []
    for _ in range(world.scaled(300, 30)):
        country = COUNTRIES[int(rng.integers(len(COUNTRIES)))].code
        kind = (CHAT, CODE, SUPPORT, MATHS)[int(rng.integers(4))]
        own = world.book.add_app(int(rng.integers(1 << 62)), kind)
        group = replace(organisation(world, rng, country), persona="batch", own=own, rate=_rates(rng, 110.0, 0.7, 1))
        cohorts.append(populate(world, rng, group, 1))
    _finish(world, rng, "B8-cron", stack(cohorts))


def carrier(world: World) -> None:
    """B9: 2,500 subscribers behind the shared addresses of one mobile carrier."""
    rng = world.rng("B9")
    count = world.scaled(2500, 60)
    addresses: Ints = world.network.carrier("ID", 0)
    group = Group("home", "ID", office=addresses, office_share=0.97, client=PHONE_APP_B * VERSIONS + 3,
                  rate=_rates(rng, 1.6, 1.1, count))  # fmt: skip
    _finish(world, rng, "B9-carrier", populate(world, rng, group, count))


def popular_sdk(world: World) -> None:
    """B10: the background itself has one SDK at 40 % of the accounts; here only the group is noted."""
    wanted = PYTHON_SDK * VERSIONS + _LAST_VERSION
    users = [block.account[block.client == wanted] for block in world.blocks]
    if users:
        world.add_benign("B10-popular-sdk", np.unique(np.concatenate(users)))
