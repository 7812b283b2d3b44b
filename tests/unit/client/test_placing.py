from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from cutover.client.errors import PositionMissing
from cutover.client.placing import Placing

Committed = Callable[..., list[TopicPartition]]


def placing(committed: dict[int, int] | None, low: int = 0, patience_seconds: float = 20) -> Placing:
    def answer(asked: list[TopicPartition], _: float) -> list[TopicPartition]:
        if committed is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [TopicPartition(each.topic, each.partition, committed.get(each.partition, -1001)) for each in asked]

    made = Placing(answer, lambda *_: (low, 100), patience_seconds)
    made.look(frozenset({"T"}))
    made.assigned([TopicPartition("T", 0), TopicPartition("S", 0)])
    return made


def test_only_partitions_of_a_topic_that_the_group_was_moved_to_are_held() -> None:
    made = placing({0: 5})
    assert (made.holds(("T", 0)), made.holds(("S", 0))) == (True, False)


def test_a_partition_goes_on_from_its_committed_position() -> None:
    placed: dict[tuple[str, int], int] = {}
    made = placing({0: 5})
    assert made.settle(placed.__setitem__)
    assert (placed, made.holds(("T", 0))) == ({("T", 0): 5}, False)


@pytest.mark.parametrize(("committed", "low"), [({}, 0), ({0: 5}, 6)], ids=["none", "below the log start"])
def test_a_partition_without_a_usable_position_is_an_error_each_time(committed: dict[int, int], low: int) -> None:
    made = placing(committed, low)
    for _ in range(2):
        with pytest.raises(PositionMissing):
            made.settle(lambda *_: None)
    assert made.holds(("T", 0))


def test_positions_that_cannot_be_read_are_waited_for_and_then_an_error() -> None:
    assert not placing(None).settle(lambda *_: None)
    with pytest.raises(PositionMissing, match="cannot be read"):
        placing(None, patience_seconds=0).settle(lambda *_: None)


def test_a_partition_that_was_taken_away_is_forgotten() -> None:
    made = placing({})
    made.forget({("T", 0)})
    assert made.settle(lambda *_: None)
