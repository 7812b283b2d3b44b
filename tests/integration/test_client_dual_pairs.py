"""Mode DUAL over two pairs that are switched together: one transaction of the application's writes four topics, and all leave at once."""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from cutover.client import Producer
from cutover.protocol import Another, Hold, Mode, PairState, Release
from tests.conformance.driving import CUT, Driver
from tests.conformance.fixtures import ReadAll, control, driver, read_all, settings  # noqa: F401 - fixtures
from tests.conftest import MakeTopic

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client")]
Pairs = Sequence[tuple[str, str]]


@pytest.fixture
def pairs(topic: MakeTopic) -> Pairs:
    """Two sources, and a target of twice its partitions for each."""
    return [(topic(2, name="source"), topic(4, name="target")) for _ in "ab"]


class Together:
    """A driver of both pairs."""

    def __init__(self, driver: Driver, pairs: Pairs) -> None:
        self.driver = driver
        self.ids: list[str] = []
        for each in pairs:
            driver.open(*each)
            self.ids.append(driver.pair)

    def _states(self) -> list[PairState]:
        return [self.driver.state.pairs[each] for each in self.ids]

    def hold(self, to: Mode) -> int:
        self.driver.listen()
        first, second = self._states()
        term = 1 + max(first.term, second.term)
        also = (Another(pair=second.pair, epoch=second.epoch + 1),)
        self.driver.say(Hold(v=2, pair=first.pair, term=term, epoch=first.epoch + 1, to=to, budget_ms=15000, also=also))
        self.driver.until(lambda: self._states()[1].hold, "HOLD stands in the log")
        return term

    def flip(self, to: Mode) -> list[str | None]:
        """What instances said against it, if anything; released all the same."""
        term = self.hold(to)
        self.driver.until(lambda: not any(map(self.driver.state.missing, self.ids)), "all have acknowledged")
        said = [ack.problem for each in self._states() if each.hold for ack in each.hold.acks.values()]
        self.release(term, to)
        return said

    def release(self, term: int, to: Mode) -> None:
        first, second = self._states()
        also = (Another(pair=second.pair, epoch=second.epoch + 1, cut=CUT),)
        self.driver.say(Release(v=2, type=to.value, pair=first.pair, term=term, epoch=first.epoch + 1, cut=CUT, also=also))
        self.driver.until(lambda: all(each.mode is to for each in self._states()), "both are released")


@pytest.fixture
def together(driver: Driver, pairs: Pairs) -> Together:
    return Together(driver, pairs)


def values(read_all: ReadAll, topic: str) -> list[bytes]:
    return sorted(each.value() or b"" for each in read_all(topic))


@contextmanager
def following(pairs: Pairs, settings: dict[str, Any], *, own: bool) -> Iterator[Producer]:
    """A producer of all pairs, with transactions of its own or without."""
    more = {"transactional.id": f"app-{pairs[0][0]}"} if own else {}
    producer = Producer({**settings, "cutover.topic": ",".join(source for source, _ in pairs), "partitioner": "murmur2", **more})
    try:
        if own:
            producer.init_transactions(30)
        yield producer
    finally:
        producer.close()


def produce(producer: Producer, pairs: Pairs, value: str, *, own: bool) -> None:
    if own:
        producer.begin_transaction()
    for source, _ in pairs:
        producer.produce(source, value, "key")
    if own:
        producer.commit_transaction(60)
    else:
        assert producer.flush(60) == 0


@pytest.mark.parametrize("own", [False, True], ids=["batches", "transactions"])
def test_a_producer_of_both_writes_all_four_topics_and_leaves_both_at_once(
    own: bool, together: Together, pairs: Pairs, settings: dict[str, Any], read_all: ReadAll
) -> None:
    with following(pairs, settings, own=own) as producer:
        together.driver.joined(2)
        for round_ in "12":  # and once more, with what the first time has left
            produce(producer, pairs, f"{round_}-source", own=own)
            assert together.flip(Mode.DUAL) == [None, None]
            for number in range(5):
                produce(producer, pairs, f"{round_}-both-{number}", own=own)
            if own:
                pen = producer._duals._pen
                assert pen is not None
                assert pen.fenced is None
                assert not pen.needs_epoch
            assert together.flip(Mode.SOURCE) == [None, None]
    both = [f"{round_}-both-{number}".encode() for round_ in "12" for number in range(5)]
    for source, target in pairs:
        assert values(read_all, source) == sorted([*both, b"1-source", b"2-source"])
        assert values(read_all, target) == both


def test_an_aborted_transaction_leaves_nothing_on_any_of_the_four(
    together: Together, pairs: Pairs, settings: dict[str, Any], read_all: ReadAll
) -> None:
    with following(pairs, settings, own=True) as producer:
        together.driver.joined(2)
        assert together.flip(Mode.DUAL) == [None, None]
        producer.begin_transaction()
        for source, _ in pairs:
            producer.produce(source, "aborted", "key")
        producer.abort_transaction(30)
        produce(producer, pairs, "kept", own=True)
    assert [values(read_all, topic) for each in pairs for topic in each] == [[b"kept"]] * 4


def test_a_transaction_that_is_open_at_the_hold_ends_on_all_four_and_the_next_begins_where_both_lead(
    together: Together, pairs: Pairs, settings: dict[str, Any], read_all: ReadAll
) -> None:
    driver = together.driver
    with following(pairs, settings, own=True) as producer:
        driver.joined(2)
        assert together.flip(Mode.DUAL) == [None, None]
        producer.begin_transaction()
        producer.produce(pairs[0][0], "1", "key")
        term = together.hold(Mode.TARGET)
        driver.listen(0.3)
        assert all(map(driver.state.missing, together.ids))
        producer.produce(pairs[1][0], "1", "key")
        producer.commit_transaction(60)
        driver.until(lambda: not any(map(driver.state.missing, together.ids)), "all have acknowledged")
        together.release(term, Mode.TARGET)
        produce(producer, pairs, "2", own=True)
    for source, target in pairs:
        assert (values(read_all, source), values(read_all, target)) == ([b"1"], [b"1", b"2"])
