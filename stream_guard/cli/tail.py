"""`stream-guard tail`: what other programs log, to Kafka as query records."""

from __future__ import annotations

import secrets
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream_guard.adapters.files import read_blocks, read_lines, split_lines
from stream_guard.adapters.following import Follower, load_position, save_position
from stream_guard.adapters.kafka_bulk import KafkaBulk
from stream_guard.decode import dead_letter, encode_dead_letter
from stream_guard.edge.fingerprints import MIN_KEY_BYTES
from stream_guard.errors import ConfigurationError
from stream_guard.ports import Topic
from stream_guard.settings import load_settings
from stream_guard.sources import BUILT_IN, MOST_LINE_BYTES, Bridge, load_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stream_guard.settings import Settings
    from stream_guard.sources import Mapped, Refused

_CHUNK: Final = 500
_POLL_SECONDS: Final = 0.25
_REFUSALS_SHOWN: Final = 10
_STDIN: Final = Path("-")


@click.command(name="tail")
@click.option(
    "--source",
    required=True,
    metavar="NAME|FILE.toml",
    help=f"What the lines are: {', '.join(BUILT_IN)}, or a mapping of your own.",
)
@click.option("--follow", is_flag=True, help="Wait for more at the end of FILE, also after it was rotated.")
@click.option(
    "--position",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --follow: a file in which to keep how far FILE has been sent, to go on there after a restart.",
)
@click.option("--dry-run", is_flag=True, help="Write the records to standard output, and nothing to Kafka.")
@click.option(
    "--dead-letters",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append what was refused to this file, not to the dead-letter topic.",
)
@click.option(
    "--hash-accounts", is_flag=True, help="Send fingerprints of account ids; the gateway then has to look up the same."
)
@click.option("--strict", is_flag=True, help="End with 1 when anything was refused.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
def tail(  # noqa: PLR0913 - one argument an option
    *,
    source: str,
    follow: bool,
    position: Path | None,
    dry_run: bool,
    dead_letters: Path | None,
    hash_accounts: bool,
    strict: bool,
    file: Path,
) -> int:
    """Bring what other programs log to Kafka, as query records.

    Reads FILE (`-` is standard input; .gz and .zst are unpacked), one JSON value a line. Prompts become sketches,
    addresses and system prompts become hashes under a secret key, here, before anything is sent. The key is
    STREAM_GUARD_SOURCES__KEY, or a file that STREAM_GUARD_SOURCES__KEY_FILE names; every bridge and gateway of one
    installation needs the same. Kafka is configured as for the worker.

    \b
    Sources:
      otel     OTLP JSON with OpenTelemetry's conventions for generative AI: spans or logs
      litellm  LiteLLM's StandardLoggingPayload
      envoy    Envoy's JSON access log in the format of deploy/envoy/envoy.yaml
      a file   a mapping in TOML: where each field comes from, units, hashes; see docs/sources.md

    \b
    Examples:
      openssl rand -hex 32 > sources.key && export STREAM_GUARD_SOURCES__KEY_FILE=sources.key
      stream-guard tail --source otel --dry-run traces.jsonl | head     # look first
      stream-guard tail --source otel traces.jsonl
      stream-guard tail --source envoy --follow --position envoy.position /var/log/envoy/access.log
      kubectl logs -f deploy/litellm | stream-guard tail --source litellm -

    A line that cannot be read is named on standard error, counted, and kept as a dead letter: its place, the reason and
    a hash of it. It stops nothing. An optional value that cannot be read is left out and counted.

    Records are sent at least once. What is sent twice keeps its event_id and counts once while the detector remembers
    it (ten minutes of event time): use --position where the bridge may restart.

    \b
    Exit codes: 0 everything is in Kafka; with --follow also when told to stop (SIGINT, SIGTERM).
      1 Kafka or a file failed, or no record came of any line, or --strict and a line was refused.
      2 wrong usage. 130 interrupted before the end.
    """  # noqa: D301 - click wants the control character itself
    if follow and file == _STDIN:
        raise click.UsageError("standard input is read as it comes: leave --follow out")
    if position is not None and not follow:
        raise click.UsageError("--position goes with --follow")
    if follow and file.suffix in {".gz", ".zst"}:
        raise click.UsageError("a compressed file cannot be followed")
    settings = load_settings()
    bridge = Bridge(load_mapping(source), _key(settings, dry_run=dry_run), hash_accounts=hash_accounts)
    with ExitStack() as stack:
        out = stack.enter_context(_output(settings, file, dry_run=dry_run, dead_letters=dead_letters))
        run = stack.enter_context(_Run.showing_progress(bridge, out, file))
        ended = run.follow(file, position) if follow else run.read(file)
    totals = run.totals
    click.echo(f"stream-guard: {_name(file)}: {totals.text(dry_run=dry_run)}", err=True)
    if not ended and not follow:
        raise click.Abort
    if totals.lines and not totals.records and not follow:
        raise click.ClickException(f"no record came of {_name(file)}: is --source {source} what it holds?")
    if strict and totals.refused:
        raise click.ClickException(f"{totals.refused:,} refused")
    return 0


@dataclass(slots=True)
class _Totals:
    """What became of everything so far."""

    lines: int = 0
    records: int = 0
    skipped: int = 0
    refused: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, lines: int, mapped: Mapped) -> None:
        self.lines += lines
        self.records += len(mapped.records)
        self.skipped += mapped.skipped
        self.refused += len(mapped.refused)
        self.left_out.update(mapped.left_out)

    def text(self, *, dry_run: bool) -> str:
        done = "mapped" if dry_run else "sent"
        parts = [f"{self.lines:,} lines", f"{self.records:,} records {done}", f"{self.refused:,} refused"]
        if self.skipped:
            parts.append(f"{self.skipped:,} skipped (no queries)")
        if self.left_out:
            parts.append("left out " + " ".join(f"{name}={count:,}" for name, count in sorted(self.left_out.items())))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class _Output:
    """Where records and dead letters go; `flush` returns when they are there."""

    record: Callable[[bytes, bytes], object]
    letter: Callable[[Refused], object]
    flush: Callable[[], object]


class _Stopped(Exception):  # noqa: N818 - not an error
    """A signal came while nothing was under way."""


class _Run:
    """Feeds lines through the bridge, chunk by chunk; ends between two chunks when a signal asks for it."""

    def __init__(self, bridge: Bridge, out: _Output, name: str, bar: Progress) -> None:
        self.totals = _Totals()
        self._bridge, self._out, self._name, self._bar = bridge, out, name, bar
        self._task = bar.add_task(name, total=None, what="")
        self._stopping = self._waiting = False
        self._told = 0

    @classmethod
    @contextmanager
    def showing_progress(cls, bridge: Bridge, out: _Output, file: Path) -> Iterator[_Run]:
        quiet = not sys.stderr.isatty() or sys.stdout.isatty()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
            run = cls(bridge, out, _name(file), bar)
            before = {number: signal.signal(number, run.stop) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield run
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def stop(self, *_: Any) -> None:  # noqa: ANN401 - a signal handler
        """Signal handler."""
        self._stopping = True
        if self._waiting:
            raise _Stopped

    def read(self, file: Path) -> bool:
        """Everything there is; whether the end was reached."""
        if file == _STDIN:
            blocks = read_blocks(click.get_binary_stream("stdin"))
            chunks = split_lines(
                blocks, chunk_records=_CHUNK, max_record_bytes=MOST_LINE_BYTES, keep_blank=True, at_once=True
            )
        else:
            self._bar.update(self._task, total=file.stat().st_size if file.is_file() else None)
            chunks = read_lines(
                file,
                chunk_records=_CHUNK,
                max_record_bytes=MOST_LINE_BYTES,
                keep_blank=True,
                progress=lambda size: self._bar.advance(self._task, size),
            )
        number, ended = 1, True
        try:
            while (lines := self._next(chunks)) is not None:
                self._feed(lines, number)
                number += len(lines)
                if self._stopping:
                    raise _Stopped  # noqa: TRY301 - as if the signal had come while waiting
        except _Stopped:
            ended = False
        self._out.flush()
        return ended

    def follow(self, file: Path, kept: Path | None) -> bool:
        """Until a signal comes."""
        start = load_position(kept) if kept else None
        with Follower(file, start, MOST_LINE_BYTES) as follower, suppress(_Stopped):
            if follower.lost:
                click.echo(f"stream-guard: {file}: what {kept} speaks of is gone: starting at its beginning", err=True)
            while not self._stopping:
                number, lines = follower.poll()
                if lines:
                    self._feed(lines, number)
                    self._out.flush()
                    if kept:
                        save_position(kept, follower.position)
                else:
                    self._sleep()
        return False

    def _next(self, chunks: Iterator[list[bytes]]) -> list[bytes] | None:
        with self._interruptible():
            return next(chunks, None)

    def _sleep(self) -> None:
        with self._interruptible():
            time.sleep(_POLL_SECONDS)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """While waiting, a signal ends everything at once."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def _feed(self, lines: list[bytes], number: int) -> None:
        mapped = self._bridge.map(lines, number)
        for key, value in mapped.records:
            self._out.record(key, value)
        for refused in mapped.refused:
            self._out.letter(refused)
            self._tell(refused)
        self.totals.add(len(lines), mapped)
        self._bar.update(self._task, what=f"{self.totals.records:,} records, {self.totals.refused:,} refused")

    def _tell(self, refused: Refused) -> None:
        self._told += 1
        if self._told <= _REFUSALS_SHOWN:
            record = f", record {refused.record}" if refused.record > 1 else ""
            text = f"stream-guard: {self._name}, line {refused.line}{record}: {refused.error}"
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        if self._told == _REFUSALS_SHOWN:
            self._bar.console.print("stream-guard: further refusals are only counted", highlight=False)


@contextmanager
def _output(settings: Settings, file: Path, *, dry_run: bool, dead_letters: Path | None) -> Iterator[_Output]:
    """Kafka, or standard output; and a file of dead letters where one is wanted."""
    with ExitStack() as stack:
        kafka = None if dry_run else stack.enter_context(KafkaBulk(settings))
        letters = stack.enter_context(dead_letters.open("ab")) if dead_letters else None
        out = click.get_binary_stream("stdout")

        def record(key: bytes, value: bytes) -> None:
            if kafka is None:
                out.write(value + b"\n")
            else:
                kafka.send(Topic.QUERIES, key, value)

        def letter(refused: Refused) -> None:
            encoded = encode_dead_letter(dead_letter(_name(file), 0, refused.line - 1, refused.error, refused.raw))
            if letters is not None:
                letters.write(encoded + b"\n")
            elif kafka is not None:
                kafka.send(Topic.DEAD_LETTER, _name(file).encode(errors="replace"), encoded)

        def flush() -> None:
            if kafka is not None:
                kafka.flush()
            else:
                out.flush()
            if letters is not None:
                letters.flush()

        yield _Output(record, letter, flush)


def _key(settings: Settings, *, dry_run: bool) -> bytes:
    if settings.sources.key is None:
        if not dry_run:
            raise ConfigurationError(
                "STREAM_GUARD_SOURCES__KEY_FILE has to name a file with a secret: `openssl rand -hex 32 > sources.key`"
            )
        click.echo("stream-guard: no STREAM_GUARD_SOURCES__KEY: hashes are under a key of this run alone", err=True)
        return secrets.token_bytes()
    key = settings.sources.key.get_secret_value().encode()
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(f"STREAM_GUARD_SOURCES__KEY has fewer than {MIN_KEY_BYTES} bytes")
    return key


def _name(file: Path) -> str:
    return "standard input" if file == _STDIN else str(file)
