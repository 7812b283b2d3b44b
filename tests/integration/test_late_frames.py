"""One request frame arrives late, while a later transaction is open: what it does to a naive loop on librdkafka.

The proxy keeps one frame of the client back, the client gets over it by itself over a new connection, and the broker receives the very
bytes of the first attempt afterwards. Cases and their letters are those of docs/late-frames.md.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from cutover.partitioners import partition
from tests.audited import audit_of_naive, places
from tests.judge import Judged, Place, Verdict, committed_positions, judge, position_reader
from tests.naive.mirror import NaiveMirror
from tests.proxied import ON_BOTH_VERSIONS, ProxiedKafka
from tests.proxy import Proxy, Request, Rule
from tests.proxy.rules import Mode

pytestmark = pytest.mark.kafka

OBEYED = 0
EVERY_MODE: list[Mode] = ["close", "reset", "stall"]


@dataclass(frozen=True)
class Pair:
    """An origin of one partition, filled, and an empty follower of two; the keys of even offsets go to 0 there, of odd ones to 1."""

    judged: Judged
    open: Callable[[], NaiveMirror]

    def positions(self) -> dict[int, int]:
        return committed_positions(position_reader(self.judged.bootstrap, self.judged.group), self.judged.origin)

    def verdict(self) -> Verdict:
        return judge(self.judged)

    def audited(self, seen: Rule) -> list[tuple[str, int]]:
        """What the engine's audit finds up to the committed positions; a frame that was seen names the loop's producer."""
        ids = seen.wait().transactional
        assert ids is not None
        assert ids.producer_id is not None
        return places(audit_of_naive(self.judged, self.positions(), [ids.producer_id]))


def key_for(follower_partition: int) -> bytes:
    return next(key for number in range(100) if partition("murmur2", key := b"key-%d" % number, 2) == follower_partition)


@pytest.fixture
def pair(proxied: ProxiedKafka, proxy: Proxy) -> Pair:
    name = uuid.uuid4().hex[:10]
    judged = Judged(proxied.bootstrap, f"s-{name}", f"t-{name}", f"naive-{name}")
    proxied.create_topics({judged.origin: 1, judged.follower: 2})
    producer = Producer({"bootstrap.servers": proxied.bootstrap, "linger.ms": 0})
    for number in range(8):
        producer.produce(judged.origin, value=b"%d" % number, key=key_for(number % 2), partition=0)
    assert producer.flush(60) == 0

    def opened() -> NaiveMirror:
        return NaiveMirror(proxy.bootstrap, proxied.bootstrap, judged.origin, judged.follower, group=judged.group)

    return Pair(judged, opened)


def commits(request: Request) -> bool:
    return request.transactional is not None and request.transactional.committed is True


def aborts(request: Request) -> bool:
    return request.transactional is not None and request.transactional.committed is False


def at(*offsets: int) -> tuple[Place, ...]:
    return tuple(Place(0, offset) for offset in offsets)


@ON_BOTH_VERSIONS
def test_the_naive_loop_copies_exactly_once_when_no_frame_is_late(pair: Pair, proxy: Proxy) -> None:
    seen = proxy.on("EndTxn", lambda _: None)
    with pair.open() as loop:
        loop.run(2).run(4)
        loop.begin()
        loop.copy(loop.take(2))
        loop.abort()
        loop.run(2)

    assert (pair.verdict(), pair.positions()) == (Verdict(), {0: 8})
    assert pair.audited(seen) == []
    assert max(proxy.versions("EndTxn")) < 5, "librdkafka does not speak the protocol that protects"


@pytest.mark.parametrize("mode", EVERY_MODE)
@ON_BOTH_VERSIONS
def test_aoc_a_late_abort_loses_records_with_every_call_a_success(pair: Pair, proxy: Proxy, mode: Mode) -> None:
    with pair.open() as loop:
        loop.run(2)
        held = proxy.hold("EndTxn", when=aborts, mode=mode)
        loop.begin()
        loop.copy(loop.take(2))
        loop.abort()

        loop.begin()
        again = loop.take(2)
        loop.copy(again)
        assert held.release().error_code == OBEYED
        loop.send_positions(again)
        loop.commit()

    assert (pair.verdict(), pair.positions()) == (Verdict(lost=at(2, 3)), {0: 4})
    assert pair.audited(held) == [("missing", 2), ("missing", 3)]


@ON_BOTH_VERSIONS
def test_apc_a_late_abort_takes_the_half_of_a_transaction_that_was_there(pair: Pair, proxy: Proxy) -> None:
    with pair.open() as loop:
        loop.run(2)
        held = proxy.hold("EndTxn", when=aborts)
        loop.begin()
        loop.copy(loop.take(2))
        loop.abort()

        loop.begin()
        again = loop.take(2)
        loop.copy(again[:1])
        assert held.release().error_code == OBEYED
        loop.copy(again[1:])
        loop.send_positions(again)
        loop.commit()

    assert (pair.verdict(), pair.positions()) == (Verdict(lost=at(2)), {0: 4})
    assert pair.audited(held) == [("missing", 2)]


@ON_BOTH_VERSIONS
def test_ca_a_late_commit_shows_records_that_are_to_be_aborted(pair: Pair, proxy: Proxy) -> None:
    with pair.open() as loop:
        held = proxy.hold("EndTxn", when=commits)
        loop.run(2)
        loop.begin()
        loop.copy(loop.take(2))
        assert held.release().error_code == OBEYED
        with pytest.raises(KafkaException) as refused:
            loop.abort()

    assert refused.value.args[0].code() == KafkaError.INVALID_TXN_STATE
    assert pair.verdict() == Verdict(beyond=at(2, 3)), "aborted records are visible, the position does not cover them"

    with pair.open() as restarted:
        restarted.run(2)
    assert (pair.verdict(), pair.positions()) == (Verdict(duplicated=at(2, 3)), {0: 4})
    assert pair.audited(held) == [("duplicate", 2), ("duplicate", 3)]


@ON_BOTH_VERSIONS
def test_oc_a_late_offset_commit_moves_the_group_back_with_every_call_a_success(pair: Pair, proxy: Proxy) -> None:
    with pair.open() as loop:
        held = proxy.hold("TxnOffsetCommit")
        loop.run(2)
        assert pair.positions() == {0: 2}
        loop.begin()
        records = loop.take(2)
        loop.copy(records)
        loop.send_positions(records)
        assert held.release().error_code == OBEYED
        loop.commit()

    assert (pair.verdict(), pair.positions()) == (Verdict(beyond=at(2, 3)), {0: 2})

    with pair.open() as restarted:
        restarted.run(2)
    assert (pair.verdict(), pair.positions()) == (Verdict(duplicated=at(2, 3)), {0: 4})
    assert pair.audited(held) == [("duplicate", 2), ("duplicate", 3)]
