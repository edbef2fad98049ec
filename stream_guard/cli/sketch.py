"""``stream-guard sketch``: prompts to sketches, for gateways that keep the text to themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from stream_guard.adapters.files import read_blocks, read_lines, split_lines
from stream_guard.errors import InputError
from stream_guard.sketch import sketch_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MAX_LINE_BYTES: Final = 16 << 20
_CHUNK: Final = 500
_RECORD: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_ENCODE: Final = msgspec.json.Encoder().encode
_NULL: Final = b"null"


@click.command(name="sketch")
@click.argument("files", metavar="[FILE]…", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--json",
    "as_records",
    is_flag=True,
    help="Lines are JSON records: `prompt` is replaced by `prompt_sketch`, all else stays as it is.",
)
def sketch(*, files: tuple[Path, ...], as_records: bool) -> None:
    """Turn prompts into sketches.

    Reads standard input, or each FILE (`-` is standard input; .gz and .zst are unpacked), one prompt a line, and
    writes one sketch a line: the value for `prompt_sketch` in a record, so that the text need not leave the gateway.
    A sketch shows which prompts are alike; it cannot be turned back into text, but a guessed prompt can be confirmed.

    \b
    Examples:
      echo "Explain how rain forms" | stream-guard sketch
      stream-guard sketch --json queries.jsonl.gz > sketched.jsonl
    """  # noqa: D301 - click wants the control character itself
    out = click.get_binary_stream("stdout")
    quiet = not sys.stderr.isatty() or sys.stdout.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        for path in files or (Path("-"),):
            _sketch_file(path, out, bar, as_records=as_records)


def _sketch_file(path: Path, out: IO[bytes], bar: Progress, *, as_records: bool) -> None:
    name = "standard input" if path == Path("-") else str(path)
    task = bar.add_task(name, total=path.stat().st_size if path.is_file() else None)
    number = 1
    try:
        for lines in _read(path, lambda size: bar.advance(task, size)):
            out.write(b"".join(line + b"\n" for line in _convert(lines, name, number, as_records=as_records)))
            out.flush()
            number += len(lines)
    except InputError as error:
        raise click.ClickException(str(error)) from error


def _read(path: Path, progress: Callable[[int], object]) -> Iterator[list[bytes]]:
    if path == Path("-"):
        blocks = read_blocks(click.get_binary_stream("stdin"))
        return split_lines(blocks, chunk_records=_CHUNK, max_record_bytes=_MAX_LINE_BYTES, keep_blank=True)
    return read_lines(path, chunk_records=_CHUNK, max_record_bytes=_MAX_LINE_BYTES, keep_blank=True, progress=progress)


def _convert(lines: Sequence[bytes], name: str, number: int, *, as_records: bool) -> list[bytes]:
    for place, line in enumerate(lines):
        if len(line) > _MAX_LINE_BYTES:
            raise InputError(f"{name}, line {number + place}: longer than {_MAX_LINE_BYTES} bytes")
    if as_records:
        return _records(lines, name, number)
    prompts = []
    for place, line in enumerate(lines):
        try:
            prompts.append(line.decode())
        except UnicodeDecodeError:
            raise InputError(f"{name}, line {number + place}: not UTF-8") from None
    return [text.encode() for text in sketch_texts(prompts)]


def _records(lines: Sequence[bytes], name: str, number: int) -> list[bytes]:
    records: list[dict[str, Any]] = []
    prompts: dict[int, str] = {}
    for place, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            record = _RECORD.decode(line)
            prompt = bytes(record.pop("prompt", _NULL))
            if prompt != _NULL:
                prompts[len(records)] = _TEXT.decode(prompt)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise InputError(
                f"{name}, line {number + place}: not a JSON object whose prompt, if any, is a string"
            ) from None
        records.append(record)
    for place, text in zip(prompts, sketch_texts(list(prompts.values())), strict=True):
        records[place]["prompt_sketch"] = text
    return [_ENCODE(record) for record in records]
