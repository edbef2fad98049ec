"""Registry of scenarios: id, what it shows, default length, and what it adds to the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.simulate.attacks import table
from stream_guard.simulate.attacks.plain import add_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.simulate.attacks.campaign import Campaign
    from stream_guard.simulate.world import World


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the tables of scenarios.

    ``days`` is the default length including the warm-up; it keeps the default run tractable where the published
    window is weeks. ``sdk_share`` and ``background_only`` change the background itself.
    """

    scenario_id: str
    title: str
    days: float
    source: str
    build: Callable[[World], None]
    sdk_share: float = 0.0
    adoption: float = 0.0


def _plain(campaign: Campaign) -> Callable[[World], None]:
    def build(world: World) -> None:
        add_plain(world, campaign)

    return build


def _nothing(_world: World) -> None:
    """Add nothing."""


_LIST: Final = (
    Scenario("quiet", "honest background only", 3, "scenarios, section 4", _nothing),
    Scenario("S2", "thin hydra: 5,380 accounts at 5.6 a day", 4, "Moonshot row", _plain(table.S2)),
    Scenario(
        "S3", "letter hydra: 25,000 accounts at 25.6 a day, ~100 cards", 3, "letter of June 2026", _plain(table.S3)
    ),
    Scenario(
        "S4", "fixed-prompt firehose: 3,500 accounts at 857 a day", 1.25, "report of September 2026", _plain(table.S4)
    ),
    Scenario("demo", "small honest groups and one thin campaign", 2, "ours", _plain(table.DEMO)),
)
SCENARIOS: Final = {scenario.scenario_id: scenario for scenario in _LIST}
