"""Endpoints of notifications on loopback: they take, hang, refuse, fail, and remember what they took."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET: Final = "s3cret"  # noqa: S105 # of these runs only
TIMEOUT_SECONDS: Final = 1.0  # of an attempt: so that an endpoint that hangs is met more than once
HANGS_SECONDS: Final = 30.0


class Mode(StrEnum):
    """What an endpoint does with an attempt."""

    TAKES = "takes"
    HANGS = "hangs"
    FAILS = "answers 500"
    CUTS = "takes it and cuts the line without an answer"


@dataclass(frozen=True, slots=True)
class Taken:
    """One request that the endpoint has taken, whether or not it said so."""

    at: float
    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """One target of the notifiers. `mode` and `open` may change at any time; `attempts` counts what came in a mode."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind, self.port = name, kind, free_port()
        self.taken: list[Taken] = []
        self.attempts = 0
        self._mode = Mode.TAKES
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None

    def target(self) -> str:
        """Its entry in the notifiers' file."""
        secret = f'secret = "{SECRET}"\n' if self.kind == "webhook" else ""
        return (
            f'[[target]]\nname = "{self.name}"\nkind = "{self.kind}"\nurl = "http://127.0.0.1:{self.port}"\n{secret}'
            f'min_severity = "info"\ntimeout_seconds = {TIMEOUT_SECONDS}\n'
        )

    def become(self, mode: Mode) -> None:
        """Treat attempts so from now on; whoever hangs is let go."""
        with self._changed:
            self._mode, self.attempts = mode, 0
            self._changed.notify_all()

    def open(self) -> None:
        """Listen."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the standard library's name
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                status = endpoint._attempt({name.lower(): value for name, value in self.headers.items()}, body)
                if status is not None:
                    self.send_response(status)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.05,), name=self.name, daemon=True).start()
        self._server = server

    def close(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _attempt(self, headers: Mapping[str, str], body: bytes) -> int | None:
        """Status of the answer; None = none."""
        with self._changed:
            mode = self._mode
            self.attempts += 1
            if mode is Mode.HANGS:
                self._changed.wait_for(lambda: self._mode is not Mode.HANGS, HANGS_SECONDS)
                return None
            if mode is Mode.FAILS:
                return 500
            self.taken.append(Taken(time.time(), headers, body))
        return None if mode is Mode.CUTS else 200
