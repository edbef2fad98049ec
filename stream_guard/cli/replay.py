"""``stream-guard replay``: the detector over files."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from stream_guard.encode import time_text
from stream_guard.pipeline import CLUSTER_PARTITIONS
from stream_guard.policy import load_policy
from stream_guard.replay import FUTURE_SKEW_SECONDS
from stream_guard.replay import replay as replay_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stream_guard.pipeline import Pipeline
    from stream_guard.replay import Watch


@click.command(name="replay")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory of the four result files."
)
@click.option("--policy", type=click.Path(dir_okay=False, path_type=Path), help="Policy file instead of the defaults.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Recorded in the summary.")
@click.option(
    "--cluster-partitions",
    default=CLUSTER_PARTITIONS,
    show_default=True,
    type=click.IntRange(min=1),
    help="How fingerprints are divided; the worker's default.",
)
def replay(*, files: tuple[Path, ...], out: Path, policy: Path | None, seed: int, cluster_partitions: int) -> None:
    """Run the detector over FILES; writes alerts, campaigns, decisions and a summary to a directory.

    FILES are JSON Lines, plain, .gz or .zst; they are read one after the other, the earliest first.
    """
    tuned = load_policy(policy)
    latest_ts = time.time() + FUTURE_SKEW_SECONDS
    with _progress(files) as watch:
        found = replay_files(
            files,
            out,
            policy=tuned,
            latest_ts=latest_ts,
            seed=seed,
            cluster_partitions=cluster_partitions,
            watch=watch,
        )
    refused = sum(found["refused"].values())
    click.echo(
        f"{found['records']} records ({refused} refused), {found['accounts']} accounts, "
        f"{found['alerts']['alerts']} alerts, {found['campaigns']['campaigns']} campaigns, "
        f"{found['decisions']['decisions']} decisions in {out}"
    )


@contextmanager
def _progress(files: Sequence[Path]) -> Iterator[Watch | None]:
    """Bytes, events a second and event time on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f} records/s"),
        TextColumn("{task.fields[at]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        total = sum(path.stat().st_size for path in files if path.is_file())
        task = bar.add_task("replay", total=total, rate=0.0, at="")
        started = time.monotonic()

        def watch(size: int, pipeline: Pipeline) -> None:
            seconds = max(time.monotonic() - started, 1e-3)
            at = time_text(pipeline.watermark)[:16] if pipeline.watermark > 0 else ""
            bar.update(task, advance=size, rate=pipeline.counts.records / seconds, at=at)

        yield watch
