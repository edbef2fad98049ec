"""``stream-guard evaluate``: simulate, replay and score against the truth."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec
from click.core import ParameterSource
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stream_guard.evaluate.ablation import PARTS, ablated
from stream_guard.evaluate.many import run_trials
from stream_guard.evaluate.page import page
from stream_guard.evaluate.report import evaluation
from stream_guard.evaluate.tables import tables
from stream_guard.evaluate.targets import COMPARED, MISSED
from stream_guard.evaluate.trial import Shards, Trial
from stream_guard.policy import load_policy
from stream_guard.replay import policy_hash
from stream_guard.simulate import APART, LADDER, SCENARIOS
from stream_guard.simulate.engine import find_scenario
from stream_guard.simulate.traces import FAMILIES, SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stream_guard.evaluate.many import Shares
    from stream_guard.records import Json

REPORT: Final = "evaluation.json"
PAGE: Final = "evaluation.html"
_EXTRA: Final = ("quiet", "S11-5", "S11-10", "S11-50")


@click.command(name="evaluate")
@click.argument("scenarios", nargs=-1)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help=f"S1 to S16 and B1 to B10 with {', '.join(_EXTRA)}; but not the ladder, nor {', '.join(APART)}.",
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="Trials of each scenario.")
@click.option("--first-seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the first.")
@click.option(
    "--scale", default=0.1, show_default=True, help="Multiplies hostile accounts and members of honest groups."
)
@click.option("--days", type=float, help="Total length, warm-up included; default depends on the scenario.")
@click.option(
    "--background-accounts", default=21_000, show_default=True, type=click.IntRange(min=0), help="Honest accounts."
)
@click.option(
    "--traffic",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Real traces instead of scenarios; SCENARIOS then names attack families.",
)
@click.option(
    "--split",
    default=SPLITS[1],
    show_default=True,
    type=click.Choice(SPLITS),
    help="Families and clients that --traffic takes when none is named.",
)
@click.option(
    "--pool",
    "pools",
    multiple=True,
    default=(20, 200, 2_000),
    show_default=True,
    type=click.IntRange(min=1),
    help="Accounts that --traffic spreads a list over; may be given several times.",
)
@click.option("--policy", type=click.Path(dir_okay=False, path_type=Path), help="Policy file instead of the defaults.")
@click.option(
    "--baselines/--no-baselines",
    default=None,
    help="Score three simple detectors on the same records, about a tenth slower; "
    f"default is on {', '.join(COMPARED)} with --all, nowhere without.",
)
@click.option(
    "--cluster-partitions",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How fingerprints are divided; a worker has 2, which takes a fifth more time and finds nearly the same.",
)
@click.option("--ladder", is_flag=True, help=f"The evasion ladder: {LADDER[0]} to {LADDER[-1]} of `simulate --list`.")
@click.option(
    "--without",
    "switched_off",
    multiple=True,
    type=click.Choice(list(PARTS)),
    metavar="SIGNAL",
    help="Run every trial again without SIGNAL, such as binding, or a theme, such as theme:lockstep, and compare; "
    "may be given more than once.",
)
@click.option("--ablation", is_flag=True, help=f"Likewise without each of the {len(PARTS)} themes and signals in turn.")
@click.option("--require-targets", is_flag=True, help="End with 1 when a target was measured and missed.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; default is one for each core.")
@click.option(
    "--out",
    default=Path(),
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Directory of {REPORT} and {PAGE}; default is the current one.",
)
def evaluate(  # noqa: PLR0913  # one argument per option
    *,
    scenarios: tuple[str, ...],
    everything: bool,
    seeds: int,
    first_seed: int,
    scale: float,
    days: float | None,
    background_accounts: int,
    traffic: Path | None,
    split: str,
    pools: tuple[int, ...],
    policy: Path | None,
    baselines: bool | None,
    cluster_partitions: int,
    ladder: bool,
    switched_off: tuple[str, ...],
    ablation: bool,
    require_targets: bool,
    jobs: int | None,
    out: Path,
) -> None:
    """Simulate, replay and score SCENARIOS against the truth; without any, those of the documentation's tables.

    With --traffic DIR the honest background has the statistics of real traces, and the attacks ask real lists of
    questions: each family is spread over 20, 200 and 2,000 accounts. DIR holds servegen/, azure_llm_2023/,
    mooncake_conv/, useragents/, tls/, alpaca/, codealpaca/, gsm8k/ and evol_baize_templates/; nothing in it is copied.

    The tables: attacks, honest accounts, baselines, every scenario over its seeds with intervals, and what the detector
    is held to, met or missed. docs/evaluation.md says what each number means. evaluation.html shows the same with
    timelines and reliability; evaluation.json holds everything.

    \b
    Examples:
      stream-guard evaluate S3 S7 --seeds 5 --baselines
      stream-guard evaluate quiet --seeds 4 --require-targets
      stream-guard evaluate --ladder --seeds 3
      stream-guard evaluate S3 --without theme:lockstep --without binding
      stream-guard evaluate S3 --ablation --scale 0.05 --background-accounts 3000

    A trial takes about a minute of a core; seeds, signals and scenarios multiply it.

    Ends with 0 once the evaluation has run, whether or not the attacks were found, unless --require-targets is given.
    """  # noqa: D301  # click's mark: keep these lines
    if scale <= 0 or (days is not None and days <= 0):
        raise click.UsageError("scale and days must be positive")
    if (everything or ladder) and (scenarios or everything is ladder):
        raise click.UsageError("name scenarios, or give --all, or --ladder")
    seeds_used = range(first_seed, first_seed + seeds)
    trial = partial(
        Trial,
        scale=scale,
        days=days,
        background_accounts=background_accounts,
        cluster_partitions=cluster_partitions,
    )
    if traffic is not None:
        if everything or ladder:
            raise click.UsageError(
                "--all and --ladder mean scenarios; --traffic takes every family of its split itself"
            )
        given = click.get_current_context().get_parameter_source
        if any(given(name) is ParameterSource.COMMANDLINE for name in ("scale", "days")):
            raise click.UsageError("--traffic asks whole lists within a day: --scale and --days are of scenarios")
        names = list(scenarios) or [family.name for family in FAMILIES.values() if family.split == split]
        if unknown := [name for name in names if name not in FAMILIES]:
            raise click.UsageError(f"unknown family {unknown[0]!r}; known are: {', '.join(FAMILIES)}")
        trials = [
            trial(f"{name}-{pool}", seed, baselines=bool(baselines), shards=Shards(traffic, name, pool))
            for name in names
            for pool in pools
            for seed in seeds_used
        ]
    else:
        names = list(LADDER) if ladder else _names(scenarios, everything=everything)
        compared = COMPARED if everything else ()
        trials = [
            trial(name, seed, baselines=name in compared if baselines is None else baselines)
            for name in names
            for seed in seeds_used
        ]
    tuned = load_policy(policy)
    reduced = ablated(trials, PARTS if ablation else dict.fromkeys(switched_off))
    out.mkdir(parents=True, exist_ok=True)
    with _progress([*trials, *reduced]) as progress:
        results = run_trials([*trials, *reduced], tuned, jobs or len(os.sched_getaffinity(0)), progress)
    options: Json = {
        "scenarios": names,
        "seeds": seeds,
        "first_seed": first_seed,
        "scale": scale,
        "days": days,
        "background_accounts": background_accounts,
        "cluster_partitions": cluster_partitions,
        "without": list(dict.fromkeys(trial.without for trial in reduced)),
        "baselines": any(trial.baselines for trial in trials),
    }
    scores = [result for result, _ in results]
    report = evaluation(scores[: len(trials)], options, policy_hash(tuned), scores[len(trials) :])
    _write(out / REPORT, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    _write(out / PAGE, page(report).encode())
    _show(report)
    seconds = sum(spent for _, spent in results)
    records = sum(result["records"] for result in scores)
    click.echo(
        f"{len(results)} trials, {records} records, {seconds:.0f} s of work "
        f"({records / max(seconds, 1e-3):.0f} records/s); details in {out / REPORT} and {out / PAGE}"
    )
    missed = sum(row["status"] == MISSED for row in (*report["targets"], *report["families"]))
    if require_targets and missed:
        raise click.ClickException(f"{missed} targets were missed; the table above and {out / REPORT} name them")


def _names(scenarios: Sequence[str], *, everything: bool) -> list[str]:
    chosen = dict.fromkeys(find_scenario(name).scenario_id for name in scenarios)
    known = [name for name in SCENARIOS if name not in {*LADDER, *APART} and (everything or name not in _EXTRA)]
    return list(chosen) or known


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def _show(report: Json) -> None:
    """Tables on a terminal; tab-separated lines in a pipe."""
    for title, columns, rows in tables(report):
        if not sys.stdout.isatty():
            for row in (columns, *rows):
                click.echo("\t".join(row))
            continue
        shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            shown.add_column(column, overflow="fold")
        for row in rows:
            shown.add_row(*row)
        Console().print(shown)


@contextmanager
def _progress(trials: Sequence[Trial]) -> Iterator[Shares]:
    """Bars on a terminal, a line for each trial that ends elsewhere."""
    if not sys.stderr.isatty():
        ended: set[int] = set()

        def tell(shares: Sequence[float]) -> None:
            for number, share in enumerate(shares):
                if share == 1.0 and number not in ended:
                    ended.add(number)
                    click.echo(f"{len(ended)} of {len(trials)} trials: {_title(trials[number])}", err=True)

        yield tell
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks = [bar.add_task(_title(trial), total=1.0, visible=False) for trial in trials]
        whole = bar.add_task("all trials", total=len(trials))

        def show(shares: Sequence[float]) -> None:
            for task, share in zip(tasks, shares, strict=True):
                bar.update(task, completed=share, visible=0.0 < share < 1.0)
            bar.update(whole, completed=sum(shares))

        yield show


def _title(trial: Trial) -> str:
    return f"{trial.scenario} seed {trial.seed}" + (f" without {trial.without}" if trial.without else "")
