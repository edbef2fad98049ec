"""Runs a scenario: background, what the scenario adds, one sorted stream and the truth about it."""

from __future__ import annotations

import click

from stream_guard.simulate.background import add_background
from stream_guard.simulate.model import Traffic, concatenate
from stream_guard.simulate.render import all_records
from stream_guard.simulate.scenarios import SCENARIOS, Scenario
from stream_guard.simulate.world import Options, World


def find_scenario(scenario_id: str) -> Scenario:
    """Look a scenario up, whatever the case of its letters.

    Args:
        scenario_id: such as ``S3``.

    Returns:
        The scenario.

    Raises:
        click.UsageError: when there is none; the message lists those that exist.
    """
    for name, scenario in SCENARIOS.items():
        if name.lower() == scenario_id.lower():
            return scenario
    known = ", ".join(SCENARIOS)
    raise click.UsageError(f"unknown scenario {scenario_id!r}; known are: {known}")


def simulate(  # noqa: PLR0913  # the options of the command, all by keyword
    scenario_id: str,
    *,
    scale: float = 1.0,
    seed: int = 0,
    days: float | None = None,
    background_accounts: int = 21_000,
    background_scale: float = 1.0,
) -> Traffic:
    """Simulate a scenario; equal arguments give equal traffic.

    Args:
        scenario_id: one of the registry.
        scale: multiplies the number of hostile accounts and of members of honest groups.
        seed: of all choices.
        days: total length, warm-up included; None for the scenario's own.
        background_accounts: honest accounts, whatever the scale; about one in thirty signs up but stays silent.
        background_scale: multiplies the request rates of honest accounts.

    Returns:
        Records sorted by time, and the truth.

    Raises:
        click.UsageError: when an argument makes no sense.
    """
    scenario = find_scenario(scenario_id)
    length = scenario.days if days is None else days
    if scale <= 0 or length <= 0 or background_scale <= 0:
        raise click.UsageError("scale, days and background scale must be positive")
    if background_accounts < 0 or seed < 0:
        raise click.UsageError("the number of background accounts and the seed must not be negative")
    world = World(Options(scale, seed, length, background_accounts, background_scale))
    if background_accounts:
        world.blocks.append(add_background(world, sdk_share=scenario.sdk_share)[1])
    scenario.build(world)
    if not world.blocks:
        raise click.UsageError(f"scenario {scenario.scenario_id} adds nothing to the background; keep the background")
    return finish(world, scenario.scenario_id, scenario.title)


def finish(world: World, name: str, title: str) -> Traffic:
    """Sort what a world holds into one stream.

    Args:
        world: with at least one block of events.
        name: of the scenario.
        title: what it shows.

    Returns:
        Records sorted by time, and the truth.
    """
    inside = concatenate(world.blocks)
    inside = inside.take((inside.ts >= world.start) & (inside.ts < world.end))
    truth = {
        "scenario": name,
        "title": title,
        "seed": world.options.seed,
        "scale": world.options.scale,
        "days": world.options.days,
        "starts": world.start,
        "ends": world.end,
        "events": len(inside),
        "campaigns": world.campaigns,
        "benign_groups": world.benign,
    }
    return Traffic(name, truth, len(inside), lambda: all_records(world, inside))
