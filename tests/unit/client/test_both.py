"""Which partitions the two records of one produce() take, and what becomes of a transaction that has one of them alone."""

from typing import Any

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from cutover.client.both import STICKY_SECONDS, Both
from cutover.client.dual import Dual, Entry
from cutover.client.transactor import Transactor
from cutover.lineage import Lineage
from cutover.partitioners import family

RANDOM = ("consistent_random", "murmur2_random", "fnv1a_random", "random")
HASHED = ("consistent", "murmur2", "fnv1a")
COUNTS = st.tuples(st.integers(1, 24), st.integers(1, 24))
POLICIES = st.sampled_from(["keep_partition", "spread"])


def dual(counts: tuple[int, int] = (3, 6), null_keys: str = "keep_partition") -> Dual:
    return Dual("p", "S", "T", epoch=1, instance="a", session="7f", partitions=counts, null_keys=null_keys)


@given(COUNTS, POLICIES, st.sampled_from(RANDOM + HASHED), st.integers(-1, 23))
def test_without_a_key_the_targets_partition_is_a_child_of_the_sources(
    counts: tuple[int, int], policy: str, partitioner: str, named: int
) -> None:
    both, named = Both(partitioner), min(named, counts[0] - 1)
    parent = both.source(dual(counts, policy), None, named)
    child = both.target(dual(counts, policy), None, parent)
    assert 0 <= parent < counts[0]
    assert parent == named or named < 0
    if policy == "keep_partition":
        assert child == parent % counts[1]
    else:
        assert child in Lineage(*counts).children(parent)


def test_spread_deals_out_over_all_children_and_no_others() -> None:
    both = Both("murmur2_random")
    assert {both.target(dual((3, 12), "spread"), None, 1) for _ in range(200)} == {1, 4, 7, 10}


@pytest.mark.parametrize("partitioner", RANDOM[:-1] + HASHED)
def test_a_key_places_both_and_a_named_partition_counts_on_the_source_alone(partitioner: str) -> None:
    both = Both(partitioner)
    assert (both.source(dual(), b"key", -1), both.target(dual(), b"key", -1)) == (-1, -1)
    assert (both.source(dual(), b"key", 2), both.target(dual(), b"key", 2)) == (2, -1)


@pytest.mark.parametrize(("partitioner", "key"), [("random", b"key"), ("consistent_random", b""), ("random", b"")])
def test_a_key_that_the_client_does_not_look_at_is_none(partitioner: str, key: bytes) -> None:
    both = Both(partitioner)
    parent = both.source(dual((6, 12)), key, -1)
    assert 0 <= parent < 6
    assert both.target(dual((6, 12)), key, parent) == parent


@pytest.mark.parametrize("partitioner", HASHED)
def test_a_client_that_hashes_no_key_as_an_empty_one_does_so_on_the_source(partitioner: str) -> None:
    assert Both(partitioner).source(dual((7, 14)), None, -1) == family(partitioner).place(b"", 7)


def test_records_without_a_key_stay_together_for_a_while_and_then_go_everywhere() -> None:
    now = 0.0
    both, told = Both("murmur2_random", lambda: now), dual((8, 16))
    found: list[set[int]] = []
    for _ in range(200):
        found.append({both.source(told, None, -1) for _ in range(5)})
        now += STICKY_SECONDS
    assert {len(each) for each in found} == {1}
    assert set.union(*found) == set(range(8))


class Refusing(Transactor):
    """Takes records for the source only."""

    def __init__(self) -> None:
        super().__init__({}, (), lambda _: True)
        self.taken: list[str] = []

    def produce(self, topic: str, *_: Any, **__: Any) -> None:  # noqa: ANN401
        if topic == "T":
            raise BufferError("Local: Queue full")
        self.taken.append(topic)

    def flush(self, _: float) -> int:
        return 0


def test_a_transaction_with_one_of_the_two_alone_is_not_committed() -> None:
    pen, entry = Refusing(), Entry(dual(), b"v", b"key", -1, 1, [("cutover.stamp", b"a:7f:1:0")], None, 0.0)
    with pytest.raises(BufferError):
        Both("murmur2").write(pen, entry, lambda *_: None)
    assert pen.taken == ["S"]
    with pytest.raises(Exception, match="one topic only") as found:
        pen.complete(1)
    error = found.value.args[0]
    assert isinstance(error, KafkaError)
    assert error.txn_requires_abort()
