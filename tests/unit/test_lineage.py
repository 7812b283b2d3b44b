"""How partitions of origin and follower relate: by cases, and against every hash remainder there is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.lineage import Lineage, share_moved
from cutover.partitioners import murmur2

small_counts = st.integers(1, 40)


@pytest.mark.parametrize(
    ("origin", "follower", "kind"),
    [(6, 24, "nested"), (6, 6, "nested"), (1, 7, "nested"), (24, 6, "merge"), (7, 1, "merge"), (6, 9, "crossed"), (9, 6, "crossed")],
)
def test_the_counts_say_the_kind(origin: int, follower: int, kind: str) -> None:
    assert Lineage(origin, follower).kind == kind


def test_a_split_gives_each_follower_partition_one_parent() -> None:
    lineage = Lineage(6, 24)
    assert all(list(lineage.parents(q)) == [q % 6] for q in range(24))
    assert list(lineage.children(5)) == [5, 11, 17, 23]


def test_a_crossed_follower_partition_has_its_parents_by_gcd() -> None:
    lineage = Lineage(6, 9)
    assert list(lineage.parents(7)) == [1, 4]
    assert list(lineage.children(4)) == [1, 4, 7]


@given(small_counts, small_counts)
def test_parents_and_children_are_exactly_the_pairs_that_some_hash_makes(origin: int, follower: int) -> None:
    lineage = Lineage(origin, follower)
    made = {(h % origin, h % follower) for h in range(math.lcm(origin, follower))}
    assert {(p, q) for q in range(follower) for p in lineage.parents(q)} == made
    assert {(p, q) for p in range(origin) for q in lineage.children(p)} == made


@given(small_counts, small_counts)
def test_a_flip_turns_parents_into_children(origin: int, follower: int) -> None:
    lineage = Lineage(origin, follower)
    assert lineage.reversed.reversed == lineage
    assert all(lineage.reversed.children(q) == lineage.parents(q) for q in range(follower))
    assert (lineage.kind == "crossed") == (lineage.reversed.kind == "crossed")


@given(small_counts, small_counts)
def test_nested_means_one_parent_and_merge_means_one_child(origin: int, follower: int) -> None:
    lineage = Lineage(origin, follower)
    assert (lineage.kind == "nested") == all(len(lineage.parents(q)) == 1 for q in range(follower))
    assert (lineage.kind == "merge") == (origin != follower and all(len(lineage.children(p)) == 1 for p in range(origin)))


@pytest.mark.parametrize(("before", "after", "share"), [(6, 12, 0.5), (6, 9, 2 / 3), (6, 7, 6 / 7), (6, 6, 0), (12, 6, 0.5)])
def test_the_share_of_keys_moved_by_an_alter_is_as_counted(before: int, after: int, share: float) -> None:
    assert share_moved(before, after) == pytest.approx(share)
    hashes = [murmur2(b"key-%d" % number) & 0x7FFFFFFF for number in range(20_000)]
    counted = sum(h % before != h % after for h in hashes) / len(hashes)
    assert counted == pytest.approx(share, abs=0.015)


@given(small_counts, small_counts)
def test_the_share_moved_is_exact_over_all_remainders(before: int, after: int) -> None:
    period = math.lcm(before, after)
    assert share_moved(before, after) == pytest.approx(sum(h % before != h % after for h in range(period)) / period)


@pytest.mark.parametrize(("origin", "follower"), [(0, 6), (6, 0), (-1, 6)])
def test_a_topic_without_partitions_is_refused(origin: int, follower: int) -> None:
    with pytest.raises(ValueError, match="at least one partition"):
        Lineage(origin, follower)


def test_a_partition_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="partition 24 is not one of 0 to 23"):
        Lineage(6, 24).parents(24)
    with pytest.raises(ValueError, match="partition -1 is not one of 0 to 5"):
        Lineage(6, 24).children(-1)


@pytest.mark.parametrize(("origins", "followers"), [(1, 1), (3, 6), (6, 9)])
def test_where_two_formulas_place_keys_any_key_may_come_from_anywhere(origins: int, followers: int) -> None:
    lineage = Lineage(origins, followers, related=False)
    assert lineage.kind == "crossed"
    assert all(lineage.parents(q) == range(origins) for q in range(followers))
    assert all(lineage.children(p) == range(followers) for p in range(origins))
    assert lineage.reversed == Lineage(followers, origins, related=False)
