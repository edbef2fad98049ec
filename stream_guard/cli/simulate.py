"""``stream-guard simulate``: labelled traffic in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress

from stream_guard.simulate import SCENARIOS
from stream_guard.simulate import simulate as run_scenario
from stream_guard.simulate.writer import truth_path, write

if TYPE_CHECKING:
    from stream_guard.simulate import Traffic


def _show_list(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  # click's signature
    if wanted and not context.resilient_parsing:
        for scenario in SCENARIOS.values():
            click.echo(f"{scenario.scenario_id:<10}{scenario.title}")
        context.exit()


def _write(traffic: Traffic, out: Path) -> int:
    if not sys.stderr.isatty():
        return write(traffic, out)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"writing {out.name}", total=traffic.events)
        return write(traffic, out, lambda count: bar.advance(task, count))


@click.command(name="simulate")
@click.argument("scenario")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of events; .gz and .zst compress.",
)
@click.option(
    "--scale", default=1.0, show_default=True, help="Multiplies hostile accounts and members of honest groups."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Equal seeds give equal bytes.")
@click.option("--days", type=float, help="Total length, warm-up included; default depends on the scenario.")
@click.option(
    "--background-accounts", default=21_000, show_default=True, type=click.IntRange(min=0), help="Honest accounts."
)
@click.option(
    "--background-scale", default=1.0, show_default=True, help="Multiplies the request rates of honest accounts."
)
@click.option("--no-background", is_flag=True, help="Only what the scenario adds.")
@click.option(
    "--list",
    "show_list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_list,
    help="Print the scenarios and exit.",
)
def simulate(  # noqa: PLR0913  # one argument per option
    *,
    scenario: str,
    out: Path,
    scale: float,
    seed: int,
    days: float | None,
    background_accounts: int,
    background_scale: float,
    no_background: bool,
) -> None:
    """Write labelled traffic of SCENARIO to a file; the truth goes to FILE.truth.json."""
    if not out.parent.is_dir():
        raise click.UsageError(f"the directory of {out} does not exist")
    traffic = run_scenario(
        scenario,
        scale=scale,
        seed=seed,
        days=days,
        background_accounts=0 if no_background else background_accounts,
        background_scale=background_scale,
    )
    try:
        written = _write(traffic, out)
    except OSError as error:
        raise click.ClickException(f"cannot write {out}: {error.strerror or error}") from error
    click.echo(f"{written} records in {out}, truth in {truth_path(out)}")
