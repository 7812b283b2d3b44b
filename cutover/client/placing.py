"""Sees that a group which was moved starts from the positions that were written for it: no reset policy is ever asked."""

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, TopicPartition

from cutover.client.errors import PositionMissing
from cutover.client.following import Where
from cutover.client.log import LOG

ASK_SECONDS = 5.0
AGAIN_SECONDS = 0.5


class Placing:
    """Holds back partitions of a topic that the group was moved to until their committed position is known to be usable."""

    def __init__(
        self,
        committed: Callable[..., list[TopicPartition]],
        watermarks: Callable[..., tuple[int, int]],
        patience_seconds: float,
    ) -> None:
        self._committed = committed
        self._watermarks = watermarks
        self._patience = patience_seconds
        self._moved: frozenset[str] = frozenset()
        self._unplaced: dict[Where, float] = {}
        self._asked_at = float("-inf")

    def look(self, moved: frozenset[str]) -> None:
        """The topics that the group was moved to."""
        self._moved = moved

    def assigned(self, partitions: list[TopicPartition]) -> None:
        """New partitions: those of a topic that the group was moved to are held until they are looked at."""
        now = time.monotonic()
        self._unplaced |= {(each.topic, each.partition): now for each in partitions if each.topic in self._moved}
        self._asked_at = float("-inf")

    def forget(self, gone: set[Where]) -> None:
        """Partitions were taken away."""
        self._unplaced = {where: since for where, since in self._unplaced.items() if where not in gone}

    def holds(self, where: Where) -> bool:
        """Whether a partition's position is not known to be good."""
        return where in self._unplaced

    def settle(self, place: Callable[[Where, int], None]) -> bool:
        """Let go of what has a usable position; raises PositionMissing for what has none. Whether nothing is held any more."""
        if not self._unplaced:
            return True
        now = time.monotonic()
        if now - self._asked_at < AGAIN_SECONDS:
            return False
        self._asked_at = now
        wrong = self._look_at_all(place)
        if wrong:
            self._asked_at = float("-inf")
            raise PositionMissing("the group has no usable position on the topic that it was moved to", why="; ".join(wrong) + ".")
        return not self._unplaced

    def _look_at_all(self, place: Callable[[Where, int], None]) -> list[str]:
        try:
            found = self._committed([TopicPartition(*where) for where in self._unplaced], ASK_SECONDS)
            wrong = [self._judge(each, place) for each in found]
        except KafkaException as error:  # not known yet: a transaction that may move them is open, or the cluster does not answer
            LOG.debug("the group's positions cannot be read: %s", error)
            late = [where for where, since in self._unplaced.items() if time.monotonic() - since > self._patience]
            return [f"{topic}[{partition}] cannot be read" for topic, partition in late]
        return [each for each in wrong if each]

    def _judge(self, found: TopicPartition, place: Callable[[Where, int], None]) -> str:
        if found.offset < 0:
            return f"{found.topic}[{found.partition}] has none"
        low, _ = self._watermarks(TopicPartition(found.topic, found.partition), ASK_SECONDS)
        if found.offset < low:
            return f"{found.topic}[{found.partition}] is at {found.offset}, and the log begins at {low}"
        del self._unplaced[(found.topic, found.partition)]
        place((found.topic, found.partition), found.offset)
        return ""
