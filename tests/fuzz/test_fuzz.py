"""A short fuzz of every target; `make fuzz` takes ten minutes. And: every seed is good input for its target."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.targets import TARGETS, seeds

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 1


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_seed_passes(name: str) -> None:
    assert seeds().keys() == TARGETS.keys()
    for data in seeds()[name]:
        TARGETS[name](data)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """Every target in a process of its own, two at a time."""
    pytest.importorskip("atheris", reason="Atheris has no wheel for this platform")
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(fuzz, name, SECONDS, seed=1) for name in sorted(TARGETS)}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_input_crashes(name: str, fuzzed: dict[str, Future[dict[str, Any]]]) -> None:
    found = fuzzed[name].result()
    assert found["crashes"] == 0
    assert found["executions"] > 100


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bundles", b"(\xb5/\xfd\xe4\xd4\x97t{\xff\xff\xff\xff"),  # a frame that claims to hold petabytes
        ("stored", b"p\xf2defaul\nx"),
        ("stored", b"n03" + b"c" * 17 + b"\nDD77"),
    ],
)
def test_what_crashed_once_is_refused(name: str, data: bytes) -> None:
    TARGETS[name](data)
