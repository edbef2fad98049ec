"""Keyed hashes of what a request shows, so that two requests can be compared when the originals stay at the gateway.

Definition, version 1: HMAC-SHA-256 (RFC 2104, FIPS 180-4) with a key that every gateway of one installation shares,
over `stream_guard.edge.v1`, then the kind, then each part, every one of them preceded by its length in UTF-8 bytes as
four bytes, big endian. The first 16 bytes, in hexadecimal, follow a prefix that names the kind.

The key keeps others from confirming a guess; 16 bytes keep a billion values apart. Change the key and nothing matches
what was seen before: groups form anew over the days that follow. Cost: about 3 microseconds a fingerprint.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

MIN_KEY_BYTES = 16
KEPT_BYTES = 16
CONTEXT = "stream_guard.edge.v1"
PREFIXES = {
    "account": "acct_",  # account_id
    "api_key": "key_",  # api_key_id
    "payment": "pay_",  # payment_fp
    "ip": "iph:",  # ip
    "headers": "hdr_",  # header_fp
    "system_prompt": "sys_",  # system_prompt_fp
}
"""What can be fingerprinted, and how the fingerprint begins."""


def fingerprint(key: bytes, kind: str, *parts: str) -> str:
    """Hash the parts of one value.

    Args:
        key: a secret of at least 16 bytes.
        kind: one of `PREFIXES`; the same text of two kinds gives two fingerprints.
        parts: one text or more, exactly as they are to be compared: trim and fold case before, where that is wanted.

    Returns:
        A prefix and 32 hexadecimal digits.

    Raises:
        ValueError: the key is short, the kind unknown, or nothing is there to be hashed. Nothing is quoted.
    """
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"a key has at least {MIN_KEY_BYTES} bytes")
    if kind not in PREFIXES:
        raise ValueError(f"the kind is one of {', '.join(PREFIXES)}")
    if not any(parts):
        raise ValueError("an empty value has no fingerprint: leave the field out")
    message = bytearray()
    for part in (CONTEXT, kind, *parts):
        data = part.encode("utf-8", "surrogatepass")
        message += len(data).to_bytes(4, "big") + data
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return PREFIXES[kind] + digest[:KEPT_BYTES].hex()


def network(address: str) -> str:
    """The network that counts as one exit: IPv4 /24, IPv6 /48, an IPv4-mapped address as IPv4.

    Raises:
        ValueError: not an address; nothing is quoted.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        raise ValueError("not an IPv4 or IPv6 address") from None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((parsed, 48), strict=False))
        parsed = parsed.ipv4_mapped
    return str(ipaddress.IPv4Network((parsed, 24), strict=False))


def ip_fingerprint(key: bytes, address: str) -> str:
    """`ip` of a record: the keyed hash of the address's network, for that is what the detector compares.

    Raises:
        ValueError: not an address, or a short key.
    """
    return fingerprint(key, "ip", network(address))


def header_fingerprint(key: bytes, names: list[str] | tuple[str, ...], settings: str = "") -> str:
    """`header_fp` of a record: which headers a client sends and in what order.

    Args:
        key: as for `fingerprint`.
        names: header names in the order of arrival, without those that proxies of your own add; case is ignored.
        settings: HTTP/2 SETTINGS or whatever else tells clients apart; optional.

    Raises:
        ValueError: nothing to hash, or a short key.
    """
    return fingerprint(key, "headers", "\n".join(name.strip().lower() for name in names), settings)
