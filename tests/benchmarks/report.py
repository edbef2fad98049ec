"""Tables for the terminal, and the page `docs/benchmarks.md` with its picture, from what `build/bench.json` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    Found = Mapping[str, Any]

PAGE: Final = ROOT / "docs" / "benchmarks.md"
PICTURE: Final = ROOT / "docs" / "benchmarks.png"
AT_LEAST: Final = {"worker_over_bare": 0.5, "worker_over_naive": 25.0, "rate_5m_over_50k": 0.8}
AT_MOST: Final = {
    "bytes_per_idle_account": 500.0,
    "redis_bytes_per_account": 350.0,
    "alert_latency_p99_seconds": 3.0,
    "recovery_seconds": 15.0,
}
MEANING: Final = {
    "worker_over_bare": "queries a second, one worker against `getmany` and the same decoder",
    "worker_over_naive": "queries a second, one worker against a Faust agent with a forest an account",
    "rate_5m_over_50k": "the worker's rate with the large population of accounts against 50,000, the worse access",
    "bytes_per_idle_account": "resident memory of the worker for an account that came once and fell silent",
    "redis_bytes_per_account": "memory of Redis for a stored account, its key included, simulated ages mixed",
    "alert_latency_p99_seconds": "from the last query that an evaluation waits for to the alert in Kafka",
    "recovery_seconds": "from the start after SIGKILL, all accounts stored, to nothing left to read",
}
FETCHING: Final = "fetching, as the bare loop does"
BETWEEN: Final = "between the stages, checkpoints, Faust"


def show(console: Console, found: Found) -> None:
    """Print the tables."""
    records = found["records"]
    console.print(
        f"\n{records['events']:,} events of {records['accounts']:,} accounts, "
        f"{records['events_per_event_second']:,.0f} an event-time second, {records['bytes_sketched']:.0f} bytes each "
        f"with a sketch, {records['bytes_prompts']:.0f} with a prompt; naive: {records['naive_events']:,} events of "
        f"{records['naive_accounts']} accounts\n{found['machine']}",
        highlight=False,
    )
    _print(console, ("contestant", "events/s (median)", "runs", "processor µs/event"), _contestants(found))
    _print(console, ("figure", "value", "target", ""), _figures(found))
    _print(console, ("where the worker's time goes", "processor µs/event", "share"), _profile(found))
    dearest = [(name, f"{cost:.1f}") for name, cost in found["pipeline_dearest_functions"]]
    _print(console, ("dearest functions, under cProfile: frequent calls look dearer", "own µs/event"), dearest)


def _print(console: Console, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _contestants(found: Found) -> Iterator[tuple[str, str, str, str]]:
    for name, rate in found["events_per_second"].items():
        runs = " ".join(f"{run:,.0f}" for run in found["runs"][name])
        yield name, f"{rate:,.0f}", runs, f"{found['cpu_microseconds_per_event'][name]:.1f}"


def _figures(found: Found) -> Iterator[tuple[str, str, str, str]]:
    for name in (*AT_LEAST, *AT_MOST):
        if name in found:
            value = found[name]
            target = f"≥ {AT_LEAST[name]:g}" if name in AT_LEAST else f"≤ {AT_MOST[name]:g}"
            yield (
                name,
                f"{value:.3g}" if value < 100 else f"{value:,.0f}",
                target,
                "met" if is_met(name, value) else "missed",
            )


def is_met(name: str, value: float) -> bool:
    """Whether a figure is what was asked for."""
    return value >= AT_LEAST[name] if name in AT_LEAST else value <= AT_MOST[name]


def _profile(found: Found) -> Iterator[tuple[str, str, str]]:
    rooms = _rooms(found)
    for room, cost in rooms.items():
        yield room, f"{cost:.1f}", f"{cost / sum(rooms.values()):.0%}"


def _rooms(found: Found) -> dict[str, float]:
    """Microseconds of processor time a query: the pipeline's rooms by their own clocks, the rest by difference."""
    cpu, rooms = found["cpu_microseconds_per_event"], dict(found["pipeline_microseconds_per_event"])
    rooms[FETCHING] = max(0.0, cpu["bare loop"] - rooms["decode"])
    rooms[BETWEEN] = max(0.0, cpu["worker"] - sum(rooms.values()))
    return rooms


def write_page(found: Found) -> None:
    """Write the page and its picture."""
    PAGE.write_text("\n".join(_page(found)) + "\n", encoding="utf-8")
    _draw(found)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _page(found: Found) -> Iterator[str]:
    machine, records = found["machine"], found["records"]
    yield "# How fast, how large, how soon\n"
    yield "`make bench` wrote this page. Rates belong to the machine and its moment; ratios of one run say more.\n"
    yield (
        f"Machine: {machine['processor']}, {machine['cores']} cores for the worker, Kafka, Redis and whoever measures; "
        f"{machine['system']}, Python {machine['python']}, load average {machine['load_average'][0]} at the start. "
        f"Version {found['version']}.\n"
    )
    yield (
        f"Records: {records['events']:,} simulated queries of {records['accounts']:,} accounts, "
        f"{records['events_per_event_second']:,.0f} a second of event time, "
        f"{records['bytes_sketched']:.0f} bytes each.\n"
    )
    yield "![Rates, where the time goes, and rates by number of accounts](benchmarks.png)\n"
    yield "## What was asked for\n"
    rows = [(f"`{name}`", MEANING[name], *rest) for name, *rest in _figures(found)]
    yield from _table(("figure", "what it is", "measured", "target", ""), rows)
    yield "## Who was timed\n"
    yield from _table(("contestant", "queries/s, median", "each run", "processor µs a query"), _contestants(found))
    yield from _speed(found)
    yield "## How much memory, how soon, how many\n"
    yield from _sizes(found)
    yield from _groups(found)
    yield from _sizing(found)
    yield from _models(found)


def _speed(found: Found) -> Iterator[str]:
    rates, cpu = found["events_per_second"], found["cpu_microseconds_per_event"]
    yield (
        f"By processor time the worker reaches {found['cpu_ratios']['worker_over_bare']:.2f} of the bare loop. "
        f"25 times the naive agent would be {25 * rates['naive Faust agent'] / rates['bare loop']:.2f} of it.\n"
    )
    yield "## Where the worker's time goes\n"
    yield from _table(("room", "processor µs a query", "share"), _profile(found))
    yield "The dearest functions of the pipeline, under cProfile, which makes small and frequent ones look dearer:\n"
    dearest = [(f"`{name}`", f"{cost:.1f}") for name, cost in found["pipeline_dearest_functions"][:8]]
    yield from _table(("function", "own µs a query"), dearest)
    between, decode = (_rooms(found)[name] for name in (BETWEEN, "decode"))
    yield (
        "**The next optimisation** is what happens between the stages: deltas are packed for each partition of the "
        "clusters, read by each, their rows stored by each; small epochs are closed partition by partition. Had for "
        f"nothing, its {between:.1f} µs would make {cpu['worker'] / (cpu['worker'] - between):.1f} times the rate. "
        "Decoding without making Python objects comes after it: "
        f"{cpu['worker'] / (cpu['worker'] - decode):.1f} times the rate at best, and the bare loop would gain more.\n"
    )


def _sizes(found: Found) -> Iterator[str]:
    idle, many, latency = found["idle_accounts"], found["many_accounts"], found["alert_latency"]
    cpu, rest = found["cpu_seconds_per_million"], found["cpu_share_at_rest"]
    working = found["cpu_seconds_per_million_without_rest"]
    yield (
        f"{idle['accounts']:,} accounts came once and were silent for four days. Each then took "
        f"{idle['worker_bytes']:.0f} bytes of the worker and {idle['redis_bytes']:.0f} of Redis. While active, "
        f"with rows in both partitions of the clusters, it was {idle['worker_bytes_while_active']:,.0f} bytes of the "
        f"worker. After the silence {idle['accounts_in_memory']:,.0f} accounts and {idle['cluster_rows']:,.0f} rows "
        "were left in memory, of those that had come again, as many as at the start: what is above zero is no state of "
        "accounts but names and numbers that are remembered within their bounds, and memory between things in use, "
        "which the allocators of C and Python keep.\n"
    )
    yield (
        f"Of {many['accounts']:,} accounts in Redis, of the ages that the simulation gives, each took "
        f"{many['redis_bytes']:.0f} bytes, what Redis adds included. The state alone:\n"
    )
    yield (
        "What an account is compared by does not compress: hashes of what it shows, of its templates and items, and a "
        "filter of what it asked once. An account with many queries holds some 320 bytes of that, before any key.\n"
    )
    stored = [(queries, f"{size:.0f}") for queries, size in found["stored_bytes_by_queries"].items()]
    yield from _table(("queries of the account", "bytes"), stored)
    rates = [
        (name, f"{rate:,.0f}", *(f"{many['microseconds'][of][name]:.1f}" for of in ("worker", "redis")))
        for name, rate in many["rates"].items()
    ]
    head = ("access and population", "queries/s", "processor µs a query: worker", "Redis")
    yield from _table(head, rates)
    yield (
        "With uniform access to the large population nearly every query is of an account that has to be loaded, stored "
        "and let go again; in life most queries are of accounts that came a moment ago, which is the skewed access. "
        f"Of a query's processor time at uniform access, the large population adds {_added(many, 'worker'):.1f} µs in "
        f"the worker and {_added(many, 'redis'):.1f} µs in Redis, which shared the cores.\n"
    )
    yield (
        f"With all of them stored the worker was killed, and {many['backlog']:,} queries came. "
        f"{many['recovery_seconds']:.1f} s after the next start all were read. The worker had a name, so Kafka gave "
        "it its partitions back without waiting for the session time-out. Of that time "
        f"{many['recovery']['ready']:.1f} s passed until the worker had all its partitions back, of which "
        f"{many['recovery']['answers']:.1f} s until its process answered at all; the rest is reading what waited.\n"
    )
    yield (
        f"Alerts: {latency['alerts']} transitions at {latency['rate']:,.0f} queries a second (wanted: "
        f"{latency['target']:,.0f}, 70 % of the top rate), p50 {latency['p50']:.2f} s "
        f"(wanted: 1), p99 {latency['p99']:.2f} s (wanted: 3). "
        f"Of the decisions, {latency['decided']:.0%} could be read in Redis, by gateways too, at the "
        "moment at which their alert was read from Kafka. Where the seconds went, medians:\n"
    )
    yield from _table(("hop", "s"), [(hop, f"{seconds:.2f}") for hop, seconds in latency["hops"].items()])
    yield (
        f"Processor seconds of the workers for a million queries: {cpu['1']:.1f} with one, {cpu['2']:.1f} with two. "
        f"Two on cores of their own would do {2 * cpu['1'] / cpu['2']:.2f} times the work of one (wanted: 1.8). "
        f"Part of it is what a worker takes whether queries come or not: {rest['1']:.1%} of a core with one, "
        f"{rest['2']:.1%} with two, while this was measured for many seconds of which few were work. Without it the "
        f"million took {working['1']:.1f} and {working['2']:.1f} seconds, "
        f"which is {2 * working['1'] / working['2']:.2f} times.\n"
    )


def _added(many: Mapping[str, Any], of: str) -> float:
    """Processor microseconds that a query takes more with the large population, at uniform access."""
    cost = many["microseconds"][of]
    return float(cost["uniform 5m"] - cost["uniform 50k"])


def _groups(found: Found) -> Iterator[str]:
    groups = found["groups"]
    yield "## Groups and campaigns\n"
    yield (
        f"What stays of a group from one evaluation to the next takes {groups['bytes_per_live_group']:,.0f} bytes in "
        f"memory (wanted: at most 4,000), over {groups['live']:,} live groups, all models included. Its members' rows "
        "are counted above, with the accounts.\n"
    )
    yield (
        "The same queries of the same 25,000 accounts, among those of others: one campaign of all of them, and 250 "
        "campaigns of 100. The whole pipeline, evaluations included:\n"
    )
    rows = [(members, f"{cost:.1f}") for members, cost in groups["microseconds"].items()]
    yield from _table(("members of each campaign", "processor µs a query"), rows)


def _sizing(found: Found) -> Iterator[str]:
    seconds, stored = found["cpu_seconds_per_million"]["2"], found["redis_bytes_per_account"]
    yield "## Sizing\n"
    yield "[Sizing](explanation/sizing.md) has the formula; with what was measured here it gives:\n"
    rows = []
    for rate, accounts in ((1_000, 100_000), (10_000, 1_000_000), (100_000, 5_000_000), (1_000_000, 50_000_000)):
        cores = rate * seconds / 1e6 / 0.7
        workers = max(1, -(-int(100 * cores) // 100))
        rows.append(
            (
                f"{rate:,}",
                f"{accounts:,}",
                f"{cores:.1f}",
                f"{workers}",
                f"{max(8, 2 * workers)}",
                f"{accounts * (stored + 1_000 * 0.2) / 1e9:.1f} GB",
                f"{rate * found['records']['bytes_sketched'] / 1e6:,.0f} MB/s",
            )
        )
    head = ("queries/s", "accounts", "cores", "workers", "partitions", "Redis, a fifth active", "into Kafka")
    yield from _table(head, rows)
    yield "All of it is calculated: nothing above two workers on one machine was tried here.\n"


def _models(found: Found) -> Iterator[str]:
    models = found["models"]
    sets = list(next(iter(models["auc"].values())))
    yield "## Models\n"
    yield (
        "`EwGaussianTail` learns twelve means and variances, in batches of 500, in "
        f"{models['our_microseconds']:.2f} µs an observation; River's `EWMean` and `EWVar` take "
        f"{models['river_microseconds']:.1f}, {models['speed_up']:.0f} times as long. "
        f"The numbers differ by at most {models['largest_difference']:.0e} of their size.\n"
    )
    yield "ROC-AUC of streaming detectors that score an observation before they learn it, defaults throughout:\n"
    rows = [
        (name, *(f"{auc[data]:.3f}" for data in sets), f"{models['microseconds'][name]:,.0f}")
        for name, auc in models["auc"].items()
    ]
    yield from _table(("model", *sets, "µs an observation"), rows)
    yield (
        "Ours is made for another job: one account's own rate against its own past, millions of accounts, a few "
        "nanoseconds a feature in batches. Where a peer leads, it looks at features together or at a longer past, "
        "which nobody can afford for each account; groups of accounts, thousands instead of millions, do get River's "
        "half-space trees. The Numenta benchmark labels windows of a tenth of a series; ours forgets in some twenty "
        "observations, so it marks where a window begins and finds its middle ordinary.\n"
    )


def _draw(found: Found) -> None:
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 # an extra

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 # as above

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    names = [name for name in found["events_per_second"] if "prompts" not in name]
    axes[0].barh(names, [found["events_per_second"][name] / 1_000 for name in names], color="#00796b")
    axes[0].set(title="thousand queries a second")
    axes[0].invert_yaxis()
    rooms = [(room, float(cost)) for room, cost, _ in _profile(found)]
    axes[1].barh([room for room, _ in rooms], [cost for _, cost in rooms], color="#5c6bc0")
    axes[1].set(title="worker: processor µs a query")
    axes[1].invert_yaxis()
    rates = found["many_accounts"]["rates"]
    axes[2].barh(list(rates), [rate / 1_000 for rate in rates.values()], color="#8d6e63")
    axes[2].set(title="thousand queries a second")
    axes[2].invert_yaxis()
    figure.savefig(PICTURE, dpi=90, metadata={"Software": None})
    plt.close(figure)
