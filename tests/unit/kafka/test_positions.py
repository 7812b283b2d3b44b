"""Positions of a busy group: each is known at a moment of its own, and no moment need be found at which all are."""

from collections.abc import Mapping

import pytest

from cutover.connection import Connection
from cutover.kafka.groups import KafkaGroups, Positions
from cutover.kafka.session import Deadline
from cutover.model import PENDING, Committed, TopicPartition

HERE, THERE = TopicPartition("orders", 0), TopicPartition("orders", 1)


class Busy(KafkaGroups):
    """A group of which one position is pending whenever it is asked for, now this one and now that one."""

    def __init__(self) -> None:
        super().__init__(Connection(("127.0.0.1:9",)))
        self.asked: list[list[TopicPartition] | None] = []

    def _positions(self, due: Mapping[str, list[TopicPartition] | None], deadline: Deadline) -> dict[str, Positions]:  # noqa: ARG002
        told: Positions = {HERE: Committed(10 * len(self.asked)), THERE: Committed(10 * len(self.asked))}
        told[(HERE, THERE)[len(self.asked) % 2]] = PENDING
        self.asked.append(due["busy"])
        return {"busy": {where: told[where] for where in due["busy"] or (HERE, THERE)}}


@pytest.mark.parametrize("partitions", [None, [HERE, THERE]])
def test_only_what_is_pending_is_asked_for_again(partitions: list[TopicPartition] | None) -> None:
    busy = Busy()
    assert busy.committed(["busy"], partitions, patience_seconds=5) == {"busy": {HERE: Committed(10), THERE: Committed(0)}}
    assert busy.asked == [partitions, [HERE]]


def test_what_stays_pending_is_told_as_that() -> None:
    busy = Busy()
    assert busy.committed(["busy"], [HERE, THERE]) == {"busy": {HERE: PENDING, THERE: Committed(0)}}
