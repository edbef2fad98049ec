"""What `replay` leaves behind: the contract's three files. They appear whole, or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Self

from stream_guard.encode import encode_alert, encode_campaign, encode_decision
from stream_guard.errors import DecodeError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import TypeVar

    from stream_guard.records import Alert, Campaign, Decision

    Record = TypeVar("Record")

ALERTS = "alerts.jsonl"
CAMPAIGNS = "campaigns.jsonl"
DECISIONS = "decisions.jsonl"
_PART_SUFFIX = ".part"


class RecordFiles:
    """Writes `alerts.jsonl`, `campaigns.jsonl` and `decisions.jsonl` under their names once everything is written.

    Args:
        directory: made if it does not exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, BinaryIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for name in (ALERTS, CAMPAIGNS, DECISIONS):
                self._files[name] = stack.enter_context((self._directory / (name + _PART_SUFFIX)).open("wb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for name in self._files:
            part = self._directory / (name + _PART_SUFFIX)
            if kind is None:
                part.replace(self._directory / name)
            else:
                part.unlink(missing_ok=True)

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Append transitions in their order."""
        self._write(ALERTS, map(encode_alert, alerts))

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Append changed decisions in their order."""
        self._write(DECISIONS, map(encode_decision, decisions))

    def campaigns(self, campaigns: Iterable[Campaign]) -> None:
        """Append campaigns as they stand at the end."""
        self._write(CAMPAIGNS, map(encode_campaign, campaigns))

    def _write(self, name: str, lines: Iterable[bytes]) -> None:
        self._files[name].writelines(line + b"\n" for line in lines)


def read_records(path: Path, parse: Callable[[bytes], Record]) -> Iterator[Record]:
    """Read one of the files back, for example with `encode.parse_alert`.

    Raises:
        InputError: the file cannot be opened, or a line is not what it should be.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.isspace():
                    yield _parse(path, number, line, parse)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _parse(path: Path, number: int, line: bytes, parse: Callable[[bytes], Record]) -> Record:
    try:
        return parse(line)
    except DecodeError as error:
        raise InputError(f"{path}, line {number}: {error}") from error
