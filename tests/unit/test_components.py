"""One customer or several behind a campaign, from what its templates are asked with."""

from __future__ import annotations

from copy import deepcopy

import msgspec
import numpy as np
import pytest

from stream_guard.campaigns.components import Asked
from stream_guard.records import Kind
from tests.support.events import blank_rows

ENGLISH, CHINESE, GERMAN = 17, 18, 19
NAMES = {
    (int(Kind.LANGUAGE), ENGLISH): "en",
    (int(Kind.LANGUAGE), CHINESE): "zh",
    (int(Kind.LANGUAGE), GERMAN): "de",
}
OWN = np.array([71, 72, 73, 74], np.uint32)


def asked(seed: int, evaluations: int, **chinese: float) -> Asked:
    """What forty accounts ask over some evaluations: the share of Chinese in each template, `t71=0.7`."""
    generator = np.random.default_rng(seed)
    found = Asked()
    templates = np.array([int(name[1:]) for name in chinese], np.uint32)
    shares = np.array(list(chinese.values()))
    for _ in range(evaluations):
        rows = blank_rows([f"account-{number}" for number in range(40)])
        drawn = generator.integers(0, len(templates), 40)
        rows["values"][:, Kind.TEMPLATE] = templates[drawn]
        foreign = generator.random(40) < shares[drawn]
        rows["values"][:, Kind.LANGUAGE] = np.where(foreign, CHINESE, ENGLISH)
        rows["values"][:, Kind.MODEL] = generator.integers(30, 33, 40)
        found.add(rows, OWN, NAMES)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_two_customers_in_one_pool_are_told_apart(seed: int) -> None:
    first, second = asked(seed, 60, t71=0.0, t72=0.0, t73=0.7).components()
    assert {first.templates, second.templates} == {("00000047", "00000048"), ("00000049",)}
    assert first.share == pytest.approx(2 / 3, abs=0.05)
    assert first.asked_with["language"] == {"en": 1.0}
    assert second.asked_with["language"]["zh"] == pytest.approx(0.7, abs=0.08)
    assert set(second.asked_with["model"]) == {"0000001e", "0000001f", "00000020"}  # no names were given for these


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("evaluations", [4, 10, 60])
def test_one_customer_with_several_templates_in_two_languages_is_one(seed: int, evaluations: int) -> None:
    found = asked(seed, evaluations, t71=0.4, t72=0.4, t73=0.4).components()
    assert [len(component.templates) for component in found] in ([3], [2], [1], [])


def test_few_requests_say_nothing() -> None:
    assert asked(1, 1, t71=0.0, t72=1.0).components() == ()


def test_a_small_habit_is_no_component() -> None:
    found = asked(1, 120, t71=0.0)
    for _ in range(60):
        rows = blank_rows(["one"])
        rows["values"][:, Kind.TEMPLATE], rows["values"][:, Kind.LANGUAGE] = 74, CHINESE
        found.add(rows, OWN, NAMES)
    assert [component.templates for component in found.components()] == [(f"{71:08x}",)]


@pytest.mark.parametrize("count", [10, 60, 200])
def test_a_system_prompt_of_its_own_in_each_request_tells_nobody_apart(count: int) -> None:
    """A time stamp in it is enough: no value comes twice, and chance must not look like two hands."""
    found = Asked()
    for number in range(count):
        rows = blank_rows([f"account-{place}" for place in range(40)])
        rows["values"][:, Kind.TEMPLATE] = 71 + np.arange(40) % 2
        rows["values"][:, Kind.SYSTEM_PROMPT] = np.arange(40) + 40 * number + 1
        found.add(rows, OWN, NAMES)
    (only,) = found.components()
    assert only.templates == (f"{71:08x}", f"{72:08x}")
    assert only.asked_with == {}


def test_two_system_prompts_tell_two_customers_apart() -> None:
    found = Asked()
    for _ in range(20):
        rows = blank_rows([f"account-{place}" for place in range(40)])
        rows["values"][:, Kind.TEMPLATE] = 71 + np.arange(40) % 2
        rows["values"][:, Kind.SYSTEM_PROMPT] = 500 + np.arange(40) % 2
        found.add(rows, OWN, NAMES)
    assert [component.asked_with for component in found.components()] == [
        {"system_prompt": {f"{500 + number:08x}": 1.0}} for number in (0, 1)
    ]


def test_templates_of_others_and_untemplated_requests_are_passed_over() -> None:
    found = asked(1, 3, t71=0.0)
    before = deepcopy(found.counts)
    rows = blank_rows(["one", "two"])
    rows["values"][:, Kind.TEMPLATE] = [0, 99]
    found.add(rows, OWN, NAMES)
    assert found.counts == before


def test_what_was_counted_is_bounded_fades_and_comes_back() -> None:
    found, own = Asked(), np.arange(1, 301, dtype=np.uint32)
    for number in range(700):
        rows = blank_rows([f"account-{place}" for place in range(40)])
        rows["values"][:, Kind.TEMPLATE] = np.where(np.arange(40) < 20, 1, 1 + (number + np.arange(40)) % 300)
        rows["values"][:, Kind.SYSTEM_PROMPT] = np.arange(40) + 40 * number + 1
        rows["values"][:, Kind.LANGUAGE] = ENGLISH
        found.add(rows, own, NAMES)
    assert len(found.counts) <= 64
    assert max(len(values) for kinds in found.counts.values() for values in kinds.values()) <= 64
    assert sum(sum(kinds["language"].values()) for kinds in found.counts.values()) <= 8_000
    assert [component.templates[0] for component in found.components()] == [f"{1:08x}"]
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode({"counts": found.counts, "names": found.names}))
    assert Asked(**plain) == found


def test_a_campaign_that_joins_another_brings_what_it_was_asked_with() -> None:
    one, other = asked(1, 40, t71=0.0), asked(2, 40, t73=0.9)
    one.absorb(other)
    assert len(one.components()) == 2
