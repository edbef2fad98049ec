"""Addresses: autonomous systems per country and class, homes, offices, carriers, datacentres, proxy exits."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from stream_guard.simulate.model import Ints, Rng

# Systems per country and class: a few providers share each market (order of magnitude, not a measurement).
_SYSTEMS: Final = {"residential": 3, "mobile": 2, "datacenter": 4, "education": 3, "corporate": 6}
# Densely used /24 networks per system: neighbours in one /24 are common and prove nothing.
_NETWORKS: Final = {"residential": 160, "mobile": 2, "datacenter": 24, "education": 6, "corporate": 60}
_FIRST_OCTETS: Final = [number for number in range(11, 224) if number not in {100, 127, 169, 172, 192, 198, 203}]
# Addresses with which a carrier serves all its subscribers (CGNAT).
CARRIER_ADDRESSES: Final = 24


@dataclass(frozen=True, slots=True)
class System:
    """An autonomous system: its number, class, country and the /24 networks in use."""

    number: int
    asn_class: str
    country: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """One source address as a gateway sees it."""

    ip: str
    asn: int
    asn_class: str
    country: str


class Network:
    """All addresses of a simulation; parts ask for indices into ``addresses``."""

    __slots__ = ("_carriers", "_seed", "_systems", "addresses")

    def __init__(self, seed: int) -> None:
        self.addresses: list[Address] = []
        self._seed = seed
        self._systems: dict[tuple[str, str], list[System]] = {}
        self._carriers: dict[tuple[str, int], Ints] = {}

    def systems(self, country: str, asn_class: str) -> list[System]:
        """Give the systems of a market; honest and hostile traffic draw from the same.

        Args:
            country: two-letter code.
            asn_class: class as in the input records.

        Returns:
            The systems, most popular first.
        """
        found = self._systems.get((country, asn_class))
        if found is None:
            rng = np.random.default_rng([self._seed, zlib.crc32(f"{country}/{asn_class}".encode())])
            found = []
            for _ in range(_SYSTEMS[asn_class]):
                octets = rng.choice(_FIRST_OCTETS, size=_NETWORKS[asn_class] // 16 + 1)
                seconds = rng.integers(0, 256, size=len(octets))
                thirds = rng.choice(256, size=16, replace=False)
                prefixes = tuple(
                    f"{a}.{b}.{c}"
                    for a, b in zip(octets.tolist(), seconds.tolist(), strict=True)
                    for c in thirds.tolist()
                )
                if asn_class == "residential":  # every fifth network speaks IPv6: a /48, a /64 for each home
                    prefixes = tuple(
                        f"2a0{a % 10}:{a * 7:x}:{int(p.rpartition('.')[2]) * 41 + i:x}" if i % 5 == 0 else p
                        for i, (p, a) in enumerate(zip(prefixes, octets.repeat(16).tolist(), strict=True))
                    )
                number = int(rng.integers(3000, 399_000))
                found.append(System(number, asn_class, country, prefixes[: _NETWORKS[asn_class]]))
            self._systems[country, asn_class] = found
        return found

    def add(self, rng: Rng, country: str, asn_class: str, count: int, *, networks: int = 0) -> Ints:
        """Add addresses in the systems of a market.

        Args:
            rng: where choices come from.
            country: two-letter code.
            asn_class: class as in the input records.
            count: how many.
            networks: when positive, all lie in that many /24 networks of one system.

        Returns:
            Their indices.
        """
        systems = self.systems(country, asn_class)
        if networks:
            system = systems[int(rng.integers(len(systems)))]
            chosen = rng.choice(len(system.prefixes), size=min(networks, len(system.prefixes)), replace=False)
            systems = [System(system.number, asn_class, country, tuple(system.prefixes[i] for i in chosen.tolist()))]
        weights = 1.0 / np.arange(1, len(systems) + 1)
        which = rng.choice(len(systems), size=count, p=weights / weights.sum()).tolist()
        prefix = rng.random(count).tolist()
        host = rng.integers(2, 254, size=count).tolist()
        first = len(self.addresses)
        for i in range(count):
            system = systems[which[i]]
            network = system.prefixes[int(prefix[i] * len(system.prefixes))]
            ip = f"{network}:{host[i]:x}::{host[i] * 31:x}" if ":" in network else f"{network}.{host[i]}"
            self.addresses.append(Address(ip, system.number, asn_class, country))
        return np.arange(first, first + count, dtype=np.int64)

    def carrier(self, country: str, which: int) -> Ints:
        """Give the shared addresses of a mobile carrier.

        Args:
            country: two-letter code.
            which: number of the carrier in that country.

        Returns:
            Indices of its addresses.
        """
        key = (country, which)
        if key not in self._carriers:
            system = self.systems(country, "mobile")[which]
            first = len(self.addresses)
            for i in range(CARRIER_ADDRESSES):
                network = system.prefixes[i % len(system.prefixes)]
                self.addresses.append(Address(f"{network}.{16 + 9 * i}", system.number, "mobile", country))
            self._carriers[key] = np.arange(first, len(self.addresses), dtype=np.int64)
        return self._carriers[key]
