"""Makes honest accounts: sign-ups, plans, payment, mail, software, places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.simulate import clients as software
from stream_guard.simulate.clients import VERSIONS, fingerprint
from stream_guard.simulate.cohort import Cohort
from stream_guard.simulate.model import DAY, EPOCH, HOUR, Account, Floats, Ints, Rng
from stream_guard.simulate.personas import INDEX, PERSONAS
from stream_guard.simulate.places import BY_CODE, LANGUAGES

if TYPE_CHECKING:
    from stream_guard.simulate.places import Country
    from stream_guard.simulate.world import World

_SIGN_UP_DAYS: Final = 730

# plan, requests a day, share: per persona. Enough of each plan in each kind that a plan alone says little.
_PLANS: Final = {
    "home": (("free", 40, 0.55), ("pro", 400, 0.42), ("trial", 60, 0.03)),
    "student": (("free", 40, 0.6), ("pro", 400, 0.4)),
    "office": (("team", 800, 0.7), ("enterprise", 2000, 0.3)),
    "developer": (("pro", 400, 0.55), ("team", 800, 0.35), ("enterprise", 2000, 0.1)),
    "service": (("pay_as_you_go", 50_000, 0.6), ("enterprise", 200_000, 0.4)),
    "batch": (("pay_as_you_go", 50_000, 0.7), ("enterprise", 200_000, 0.3)),
    "trial": (("trial", 60, 0.8), ("pro", 400, 0.2)),
}
# stacks and shares per persona
_STACKS: Final = {
    "home": (
        (software.CHROME, 0.36),
        (software.PHONE_APP_A, 0.24),
        (software.PHONE_APP_B, 0.2),
        (software.SAFARI, 0.13),
        (software.FIREFOX, 0.07),
    ),
    "student": (
        (software.CHROME, 0.45),
        (software.PHONE_APP_A, 0.2),
        (software.PHONE_APP_B, 0.15),
        (software.SAFARI, 0.15),
        (software.FIREFOX, 0.05),
    ),
    "office": (
        (software.CHROME, 0.7),
        (software.SAFARI, 0.15),
        (software.FIREFOX, 0.07),
        (software.IDE_PLUGIN, 0.08),
    ),
    "developer": (
        (software.CODING_CLI, 0.5),
        (software.IDE_PLUGIN, 0.25),
        (software.PYTHON_SDK, 0.17),
        (software.NODE_SDK, 0.08),
        (software.CLI_RELAY, 0.02),
        (software.SDK_RELAY, 0.01),
    ),
    "service": (
        (software.PYTHON_SDK, 0.5),
        (software.NODE_SDK, 0.24),
        (software.GO_SDK, 0.12),
        (software.JAVA_SDK, 0.11),
        (software.CURL, 0.03),
        (software.SDK_RELAY, 0.03),
        (software.CLI_RELAY, 0.01),
    ),
    "batch": (
        (software.PYTHON_SDK, 0.72),
        (software.CURL, 0.12),
        (software.GO_SDK, 0.08),
        (software.NODE_SDK, 0.08),
    ),
    "trial": (
        (software.CHROME, 0.45),
        (software.PYTHON_SDK, 0.2),
        (software.PHONE_APP_B, 0.25),
        (software.CODING_CLI, 0.1),
        (software.CLI_RELAY, 0.02),
    ),
}
_VERSION_SHARES: Final = (0.04, 0.06, 0.1, 0.18, 0.27, 0.35)
_WEB: Final = frozenset(
    {software.CHROME, software.SAFARI, software.FIREFOX, software.PHONE_APP_A, software.PHONE_APP_B}
)


@dataclass(frozen=True, slots=True)
class Group:
    """What the accounts of one group have in common; None leaves it to the persona."""

    persona: str
    country: str
    org_id: str | None = None
    payment_fp: str | None = None
    email_class: str | None = None
    credit_program: str | None = None
    plan: tuple[str, int] | None = None
    client: int | None = None
    office: Ints | None = None
    office_share: float = 0.0
    carrier_share: float | None = None
    own: int = -1
    system: int = -1
    rate: Floats | None = None
    created: Ints | None = None


def organisation(world: World, rng: Rng, country: str) -> Group:
    """Make the group of a new organisation, to be varied by ``dataclasses.replace``.

    Args:
        world: its seed.
        rng: where choices come from.
        country: seat of the organisation.

    Returns:
        A group with an organisation id, one payment instrument and corporate mail.
    """
    return Group(
        "office",
        country,
        org_id=fingerprint("org_", world.options.seed, int(rng.integers(1 << 62))),
        payment_fp=fingerprint("pay_", world.options.seed, int(rng.integers(1 << 62))),
        email_class="corporate",
        credit_program="startup" if rng.random() < 0.08 else None,
    )


def sign_ups(rng: Rng, count: int, days_ahead: int, days_back: int = _SIGN_UP_DAYS) -> Ints:
    """Draw sign-up times over two years and the simulation itself: growing, fewer at weekends.

    Args:
        rng: where choices come from.
        count: how many.
        days_ahead: length of the simulation.
        days_back: age of the oldest account.

    Returns:
        Epoch milliseconds.
    """
    days = np.arange(1 - days_ahead, days_back)
    weekday = (-days) % 7  # the simulation starts on a Monday
    weights = np.exp(-days / 400.0) * np.where(weekday >= 5, 0.55, 1.0)
    chosen = rng.choice(days, size=count, p=weights / weights.sum())
    drawn: Ints = (EPOCH - chosen * DAY + rng.integers(6 * HOUR, 23 * HOUR, size=count)).astype(np.int64)
    return drawn


def _pick(rng: Rng, options: tuple[tuple[int, float], ...], count: int) -> Ints:
    shares = np.array([share for _, share in options])
    values = np.array([value for value, _ in options], dtype=np.int64)
    drawn: Ints = values[rng.choice(len(values), size=count, p=shares / shares.sum())]
    return drawn


def draw_clients(rng: Rng, persona: str, count: int) -> Ints:
    """Draw client software that fits a persona.

    Args:
        rng: where choices come from.
        persona: name of the persona.
        count: how many.

    Returns:
        Indices of clients.
    """
    version = rng.choice(VERSIONS, size=count, p=np.array(_VERSION_SHARES))
    drawn: Ints = _pick(rng, _STACKS[persona], count) * VERSIONS + version
    return drawn


def _second_clients(rng: Rng, group: Group, clients: Ints) -> Ints:
    """Let people who use a browser at home use the app on their way."""
    if group.persona not in {"home", "student"} or group.client is not None:
        return clients.copy()
    app = np.where(rng.random(len(clients)) < 0.5, software.PHONE_APP_A, software.PHONE_APP_B) * VERSIONS + VERSIONS - 1
    drawn: Ints = np.where(rng.random(len(clients)) < 0.7, app, clients).astype(np.int64)
    return drawn


def _mail(group: Group, roll: float) -> str:
    if group.email_class is not None:
        return group.email_class
    if group.persona == "trial":
        return "disposable" if roll < 0.22 else "freemail"
    if group.persona == "student":
        return "edu" if roll < 0.75 else "freemail"
    if group.persona in {"service", "batch"}:
        return "corporate" if roll < 0.8 else "freemail"
    return "freemail" if roll < 0.93 else "corporate"


def _payment(world: World, rng: Rng, group: Group, plan: str) -> str | None:
    if group.payment_fp is not None:
        return group.payment_fp
    if plan in {"free", "trial"} and rng.random() < 0.9:
        return None
    return fingerprint("pay_", world.options.seed, int(rng.integers(1 << 62)))


def _make_accounts(world: World, rng: Rng, group: Group, created: Ints, stacks: Ints) -> Ints:
    plans = _PLANS[group.persona]
    shares = np.array([share for _, _, share in plans])
    chosen = rng.choice(len(plans), size=len(created), p=shares / shares.sum())
    rolls = rng.random(len(created))
    accounts = []
    for i in range(len(created)):
        name, quota = group.plan or plans[int(chosen[i])][:2]
        web = int(stacks[i]) // VERSIONS in _WEB
        accounts.append(
            Account(
                account_id=world.account_id(rng),
                created_at=int(created[i]),
                plan=name,
                quota_per_day=quota,
                email_class=_mail(group, float(rolls[i])),
                access_path="web" if web else "api",
                payment_fp=_payment(world, rng, group, name),
                org_id=group.org_id,
                credit_program=group.credit_program,
                api_key_id=None if web else fingerprint("key_", int(rng.integers(1 << 62))),
            )
        )
    return world.add_accounts(accounts)


def _rates(rng: Rng, persona: str, count: int) -> Floats:
    kind = PERSONAS[INDEX[persona]]
    if persona == "service":
        tail = np.minimum((1.0 - rng.random(count)) ** (-1 / 0.9), 4000.0)
        rates: Floats = np.minimum(tail * kind.rate_per_day / 8.0, 9000.0)
        return rates
    people: Floats = np.minimum(kind.rate_per_day * np.exp(rng.normal(0, kind.rate_sigma, size=count)), 350.0)
    return people


def _homes(world: World, rng: Rng, group: Group, count: int) -> Ints:
    if group.persona in {"service", "batch"}:
        return world.network.add(rng, group.country, "datacenter", count)
    homes = world.network.add(rng, group.country, "residential", count)
    if group.persona in {"home", "student"} and count > 1:  # families and shared flats
        shared = np.flatnonzero(rng.random(count - 1) < 0.14) + 1
        homes[shared] = homes[shared - 1]
    return homes


def _second_addresses(world: World, rng: Rng, group: Group, count: int) -> tuple[Ints, Floats]:
    if group.office is not None:
        share = np.full(count, group.office_share)
        return group.office[rng.integers(len(group.office), size=count)], share
    if group.persona in {"service", "batch"}:
        return world.network.add(rng, group.country, "datacenter", count), np.full(count, 0.2)
    carriers = [world.network.carrier(group.country, which) for which in (0, 1)]
    pool = np.concatenate(carriers)
    share = rng.beta(0.7, 1.3, size=count) if group.carrier_share is None else np.full(count, group.carrier_share)
    return pool[rng.integers(len(pool), size=count)], share


def populate(world: World, rng: Rng, group: Group, count: int) -> Cohort:
    """Make the accounts of a group.

    Args:
        world: tables to add to.
        rng: where choices come from.
        group: what they have in common.
        count: how many.

    Returns:
        Their cohort, ready for the schedule.
    """
    country: Country = BY_CODE[group.country]
    clients = draw_clients(rng, group.persona, count)
    if group.client is not None:
        clients = np.full(count, group.client, dtype=np.int64)
    age = 30 if group.persona == "trial" else _SIGN_UP_DAYS
    created = sign_ups(rng, count, int(world.options.days), age) if group.created is None else group.created
    account = _make_accounts(world, rng, group, created, clients)
    languages = np.array([LANGUAGES.index(code) for code in country.languages], dtype=np.int64)
    away, away_share = _second_addresses(world, rng, group, count)
    coder = group.persona in {"developer", "service", "batch"}
    return Cohort(
        account=account,
        persona=np.full(count, INDEX[group.persona], dtype=np.int64),
        rate=(_rates(rng, group.persona, count) if group.rate is None else group.rate) * world.options.background_scale,
        zone=np.full(count, country.hours_from_utc, dtype=np.int64),
        home=_homes(world, rng, group, count),
        away=away,
        away_share=away_share,
        client=clients,
        second_client=_second_clients(rng, group, clients),
        language=languages[rng.choice(len(languages), size=count, p=np.array(country.weights))],
        english=np.full(count, 0.6 if coder else 0.08),
        own=np.full(count, group.own, dtype=np.int64),
        system=np.full(count, group.system, dtype=np.int64),
        taste=rng.random(count),
        starts=created,
    )
