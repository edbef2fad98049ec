"""Groups, tops and populations against references that a child could check."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_guard.clusters.groups import SAMPLE_MEMBERS, Groups, form_groups, kind_of, owner_of
from stream_guard.clusters.population import Population, capability_mix
from stream_guard.clusters.view import GroupView
from stream_guard.records import Kind
from tests.support.events import START, blank_rows, honest_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


def rows_of(shown: list[tuple[int, int, int]]) -> NDArray[np.void]:
    rows = blank_rows([f"a{number}" for number in range(len(shown))])
    rows = rows[np.argsort(rows["account"])]
    for number, (payment, client, country) in enumerate(shown):
        rows["values"][number, Kind.PAYMENT] = payment
        rows["values"][number, Kind.CLIENT] = client
        rows["values"][number, Kind.COUNTRY] = country
        rows["addresses"][number, :2] = payment, client
        rows["templates"][number, 0] = country
    rows["capability"][:, 1] = 1.0
    return rows


def members_by_fingerprint(groups: Groups) -> dict[int, list[int]]:
    return {int(groups.fingerprint[number]): groups.members(number).tolist() for number in range(len(groups))}


@settings(max_examples=40, deadline=None)
@given(SMALL)
def test_groups_are_who_shows_the_same(shown: list[tuple[int, int, int]]) -> None:
    found = members_by_fingerprint(form_groups(rows_of(shown), 3, 0, 1))
    for kind, place in ((Kind.PAYMENT, 0), (Kind.CLIENT, 1)):
        expected = {}
        for value in (1, 2, 3):
            members = [number for number, item in enumerate(shown) if item[place] == value]
            if len(members) >= 3:
                expected[(int(kind) << 32) | value] = members
        assert {key: members for key, members in found.items() if kind_of(key) == kind} == expected
    pairs: dict[tuple[int, int], list[int]] = {}
    for number, (_, client, country) in enumerate(shown):
        if client and country:
            pairs.setdefault((client, country), []).append(number)
    assert sorted(members for key, members in found.items() if kind_of(key) == Kind.CLIENT_COUNTRY) == sorted(
        members for members in pairs.values() if len(members) >= 3
    )
    assert Kind.COUNTRY not in {kind_of(key) for key in found}


@settings(max_examples=40, deadline=None)
@given(SMALL)
def test_only_some_groups_are_looked_for(shown: list[tuple[int, int, int]]) -> None:
    found = members_by_fingerprint(form_groups(rows_of(shown), 3, 0, 1))
    wanted = [*list(found)[::2], 7]
    some = form_groups(rows_of(shown), 3, 0, 1, np.array(wanted, np.uint64))
    assert members_by_fingerprint(some) == {key: found[key] for key in wanted if key in found}


@settings(max_examples=25, deadline=None)
@given(SMALL, st.integers(2, 5))
def test_partitions_are_a_disjoint_cover(shown: list[tuple[int, int, int]], partitions: int) -> None:
    rows = rows_of(shown)
    whole = members_by_fingerprint(form_groups(rows, 3, 0, 1))
    parts = [members_by_fingerprint(form_groups(rows, 3, number, partitions)) for number in range(partitions)]
    joined: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        assert not joined.keys() & part.keys()
        owners = owner_of(np.fromiter(part, np.uint64, len(part)), partitions)
        assert (owners == number).all()
        joined.update(part)
    assert joined == whole


def test_a_large_group_is_sampled_by_the_smallest_hashes() -> None:
    rows = blank_rows([f"a{number}" for number in range(SAMPLE_MEMBERS + 300)])
    rows = rows[np.argsort(rows["account"])]
    rows["values"][:, Kind.PAYMENT] = 7
    rows["values"][:10, Kind.CREDIT] = 8
    groups = form_groups(rows, 3, 0, 1)
    sampled = groups.sample()
    sizes = dict(zip(sampled.fingerprint.tolist(), sampled.size.tolist(), strict=True))
    assert sizes == {(Kind.PAYMENT << 32) | 7: SAMPLE_MEMBERS, (Kind.CREDIT << 32) | 8: 10}
    assert members_by_fingerprint(sampled)[(Kind.PAYMENT << 32) | 7] == list(range(SAMPLE_MEMBERS))
    assert members_by_fingerprint(sampled)[(Kind.CREDIT << 32) | 8] == list(range(10))


def test_a_subset_keeps_its_members() -> None:
    groups = form_groups(rows_of([(1, 1, 1)] * 4 + [(2, 2, 2)] * 5), 3, 0, 1)
    whole = members_by_fingerprint(groups)
    chosen = np.arange(len(groups)) % 2 == 0
    assert members_by_fingerprint(groups.subset(chosen)) == {
        key: whole[key] for key in groups.fingerprint[chosen].tolist()
    }
    assert len(groups.subset(np.zeros(len(groups), np.bool_))) == 0


def test_no_rows_no_groups() -> None:
    assert len(form_groups(blank_rows([]), 3, 0, 1)) == 0


@settings(max_examples=40, deadline=None)
@given(SMALL)
def test_shares_of_the_population_are_counts(shown: list[tuple[int, int, int]]) -> None:
    population = Population.of(rows_of(shown))
    counted = Counter(item[0] for item in shown)
    share = population.share(Kind.PAYMENT, np.array([1, 2, 3, 99], np.uint32))
    expected = [max(counted[value], 0.5) / len(shown) for value in (1, 2, 3, 99)]
    assert share.tolist() == pytest.approx(expected)
    again = Population.load(population.dump())
    assert again.share(Kind.PAYMENT, np.array([1, 2, 3, 99], np.uint32)).tolist() == share.tolist()
    assert again.capability.tolist() == population.capability.tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=40))
def test_language_surprise_is_minus_log_of_the_smoothed_share(shown: list[tuple[int, int]]) -> None:
    rows = blank_rows([f"a{number}" for number in range(len(shown))])
    for number, (country, language) in enumerate(shown):
        rows["values"][number, Kind.COUNTRY], rows["values"][number, Kind.LANGUAGE] = country, language
    found = Population.of(rows).language_surprise(rows)
    both = [item for item in shown if all(item)]
    languages = max(len({language for _, language in both}), 1)
    for value, (country, language) in zip(found.tolist(), shown, strict=True):
        if not (country and language):
            assert np.isnan(value)
            continue
        total = sum(item[0] == country for item in both)
        assert value == pytest.approx(-np.log((both.count((country, language)) + 0.5) / (total + 0.5 * languages)))


def test_each_account_weighs_the_same_in_the_mix() -> None:
    rows = blank_rows(["heavy", "light"])
    rows["capability"][0, 1], rows["capability"][1, 2] = 1e6, 1.0
    mix = Population.of(rows).capability
    assert mix[1] == mix[2]
    assert capability_mix(np.zeros((1, 8), np.float32)).sum() == 0.0


@settings(max_examples=40, deadline=None)
@given(SMALL)
def test_the_top_value_is_the_most_common_one(shown: list[tuple[int, int, int]]) -> None:
    rows = rows_of(shown)
    groups = form_groups(rows, 3, 0, 1)
    view = GroupView(rows, groups, Population.of(rows), START, {})
    for kind, column in ((Kind.CLIENT, rows["values"][:, [Kind.CLIENT]]), (Kind.ADDRESS, rows["addresses"])):
        top = view.top(kind)
        for number in range(len(groups)):
            members = groups.members(number)
            values = Counter(value for member in members for value in column[member].tolist() if value)
            known = sum(bool(column[member].any()) for member in members)
            assert top.known[number] == known
            assert top.distinct[number] == len(values)
            most = max(values.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
            assert top.value[number] == most[0]
            if known * 2 >= len(members) and known:
                assert top.share[number] == pytest.approx(most[1] / known)
            else:
                assert np.isnan(top.share[number])


def test_a_mean_of_too_few_is_not_ready() -> None:
    rows, _ = honest_rows(20, 1)
    rows["values"][:, Kind.PAYMENT] = 3
    groups = form_groups(rows, 20, 0, 1)
    chosen = groups.subset(groups.fingerprint == np.uint64((Kind.PAYMENT << 32) | 3))
    view = GroupView(rows, chosen, Population.of(rows), START, {})
    values = np.full(20, np.nan)
    values[:9] = 2.0
    assert np.isnan(view.mean(values)).all()
    values[:10] = 2.0
    assert view.mean(values).tolist() == [2.0]
