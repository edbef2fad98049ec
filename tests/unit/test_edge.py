"""What gateways carry: the same numbers as the detector's, from the standard library alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_guard.decode.interning import address_prefix
from stream_guard.edge import fingerprint, header_fingerprint, ip_fingerprint, sketch_prompt
from stream_guard.edge.fingerprints import PREFIXES, network
from stream_guard.sketch import sketch_texts

VECTORS: dict[str, Any] = json.loads(
    resources.files("stream_guard.edge").joinpath("vectors.json").read_text(encoding="utf-8")
)
KEY = bytes.fromhex(VECTORS["key_hex"])


@pytest.mark.parametrize("vector", VECTORS["sketches"], ids=lambda vector: ascii(vector["text"][:16]))
def test_both_implementations_of_a_sketch_give_the_vector(vector: dict[str, str]) -> None:
    assert sketch_prompt(vector["text"]) == vector["prompt_sketch"]
    assert sketch_texts([vector["text"]]) == [vector["prompt_sketch"]]


def test_fingerprints_addresses_and_headers_give_their_vectors() -> None:
    for vector in VECTORS["fingerprints"]:
        assert fingerprint(KEY, vector["kind"], *vector["parts"]) == vector["fingerprint"]
    for vector in VECTORS["addresses"]:
        assert network(vector["address"]) == vector["network"]
        assert ip_fingerprint(KEY, vector["address"]) == vector["fingerprint"]
    for vector in VECTORS["headers"]:
        assert header_fingerprint(KEY, vector["names"], vector["settings"]) == vector["fingerprint"]
    assert {vector["kind"] for vector in VECTORS["fingerprints"]} | {"ip"} == set(PREFIXES)


def test_nothing_but_the_standard_library_is_imported() -> None:
    code = """
import sys
before = set(sys.modules)
import stream_guard.edge
ours = {"stream_guard", "stream_guard.edge", "stream_guard.edge.prompts", "stream_guard.edge.fingerprints"}
print(sorted(name for name in set(sys.modules) - before - ours if name.split(".")[0] not in sys.stdlib_module_names))
"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str))
def test_a_hashed_address_stands_for_the_network_that_the_detector_compares(address: str) -> None:
    assert network(address) == address_prefix(address)


def test_parts_cannot_be_moved_between_each_other_and_keys_matter() -> None:
    assert fingerprint(KEY, "payment", "ab", "c") != fingerprint(KEY, "payment", "a", "bc")
    assert fingerprint(KEY, "payment", "x") != fingerprint(KEY[::-1], "payment", "x")
    assert fingerprint(KEY, "payment", "x")[4:] != fingerprint(KEY, "account", "x")[5:]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fingerprint(b"short", "ip", "x"), "at least 16 bytes"),
        (lambda: fingerprint(KEY, "shoe_size", "x"), "kind is one of"),
        (lambda: fingerprint(KEY, "payment", "", ""), "leave the field out"),
        (lambda: ip_fingerprint(KEY, "secret-host"), "^not an IPv4 or IPv6 address$"),
    ],
)
def test_what_cannot_be_hashed_is_refused_without_being_quoted(call: Any, message: str) -> None:  # noqa: ANN401 # a lambda
    with pytest.raises(ValueError, match=message):
        call()
