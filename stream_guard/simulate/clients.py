"""Client software: TLS fingerprint, header set and user agent of browsers, apps and SDKs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stream_guard.simulate.grammar import mix

PYTHON_SDK: Final = 0
NODE_SDK: Final = 1
GO_SDK: Final = 2
JAVA_SDK: Final = 3
CURL: Final = 4
CODING_CLI: Final = 5
IDE_PLUGIN: Final = 6
CHROME: Final = 7
SAFARI: Final = 8
FIREFOX: Final = 9
PHONE_APP_A: Final = 10
PHONE_APP_B: Final = 11
# Open-source relays in front of the API: private people and small teams run them too.
CLI_RELAY: Final = 12
SDK_RELAY: Final = 13

_STACKS: Final = (
    ("t13d1516h2_py", "atlas-python/1.{v} httpx/0.27"),
    ("t13d1715h2_node", "atlas-node/4.{v}.0 undici"),
    ("t13d1312h2_go", "atlas-go/0.{v}.2 Go-http-client/2.0"),
    ("t13d1411h2_java", "atlas-java/2.{v}.0 okhttp/4.12.0"),
    ("t13d3112h2_curl", "curl/8.{v}.0"),
    ("t13d1715h2_node", "atlas-code/2.{v}.1 (cli)"),
    ("t13d1517h2_electron", "atlas-ide/1.{v}.0 vscode"),
    ("t13d1516h2_chrome", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/1{v}.0.0.0 Safari/537.36"),
    ("t13d2014h2_safari", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/17.{v} Safari/605.1.15"),
    ("t13d1717h2_firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:1{v}.0) Gecko/20100101 Firefox/1{v}.0"),
    ("t13d2014h2_safari", "Atlas/6.{v} (iPhone; iOS 19.1)"),
    ("t13d1411h2_java", "Atlas/6.{v} (Android 16; okhttp)"),
    ("t13d1312h2_go", "atlas-code/2.{v}.1 (cli)"),
    ("t13d1516h2_py", "atlas-python/1.{v} httpx/0.27"),
)
VERSIONS: Final = 6


@dataclass(frozen=True, slots=True)
class Client:
    """What a gateway sees of the software in front of it."""

    tls_fp: str
    header_fp: str
    user_agent: str


def fingerprint(prefix: str, *numbers: int) -> str:
    """Make an opaque hash-like string.

    Args:
        prefix: what kind of thing it is.
        *numbers: what it is derived from.

    Returns:
        The prefix and twelve hexadecimal digits.
    """
    state = 0
    for number in numbers:
        state = mix(state ^ number)
    return f"{prefix}{state >> 16:012x}"


def standard_clients() -> list[Client]:
    """List every stack in every version; index is stack * VERSIONS + version.

    Returns:
        The clients; stacks that share a TLS library share its fingerprint.
    """
    found = []
    for stack, (tls, agent) in enumerate(_STACKS):
        number = sum(tls.encode()) * 7919
        for version in range(VERSIONS):
            header = fingerprint("h_", stack, version // 2)
            found.append(
                Client(f"{tls.split('_')[0]}_{mix(number):016x}", header, agent.replace("{v}", str(19 + version)))
            )
    return found
