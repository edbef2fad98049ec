"""Server-sent events, read as browsers read them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from stream_guard.records import Json


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a client reads it."""

    name: str
    data: Json
    position: str

    @property
    def outline(self) -> tuple[str, str]:
        return self.data["decision_id"], self.data["status"]


class Reader:
    """Server-sent events, parsed as browsers do."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response

    async def event(self) -> Seen:
        fields: dict[str, str] = {}
        while True:
            line = (await asyncio.wait_for(self._response.content.readline(), 10.0)).decode()
            if not line:
                raise EOFError
            if line == "\n":
                if "event" in fields:
                    return Seen(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                continue
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value

    async def until(self, name: str) -> list[Seen]:
        found = [await self.event()]
        while found[-1].name != name:
            found.append(await self.event())
        return found

    async def decisions(self, number: int) -> list[Seen]:
        found: list[Seen] = []
        while len(found) < number:
            event = await self.event()
            if event.name == "decision":
                found.append(event)
            else:
                assert event.name == "kill_switch"
        return found
