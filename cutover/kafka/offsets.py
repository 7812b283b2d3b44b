"""Begin, end and time offsets: one ListOffsets call per leader, whatever the number of partitions."""

from collections.abc import Collection

from confluent_kafka import OFFSET_INVALID, IsolationLevel, KafkaError, TopicCollection
from confluent_kafka import TopicPartition as Where
from confluent_kafka.admin import OffsetSpec

from cutover.errors import CutoverError, NotReady
from cutover.kafka.errors import Asked, some, unanswered
from cutover.kafka.session import Deadline, Session
from cutover.model import Isolation, TopicPartition

LEVELS = {
    Isolation.READ_COMMITTED: IsolationLevel.READ_COMMITTED,
    Isolation.READ_UNCOMMITTED: IsolationLevel.READ_UNCOMMITTED,
}


class KafkaOffsets(Session):
    """Implements cutover.ports.Offsets."""

    def begin_offsets(self, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None) -> dict[TopicPartition, int]:
        """The log start offsets."""
        return self._offsets(partitions, OffsetSpec.earliest(), Isolation.READ_UNCOMMITTED, self.deadline(timeout_seconds))

    def end_offsets(
        self, partitions: Collection[TopicPartition], isolation: Isolation, *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, int]:
        """The high watermarks or last stable offsets."""
        return self._offsets(partitions, OffsetSpec.latest(), isolation, self.deadline(timeout_seconds))

    def offsets_at(
        self, partitions: Collection[TopicPartition], timestamp_ms: int, *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, int | None]:
        """The first offsets at or after a time; the broker says -1 where there is none."""
        spec = OffsetSpec.for_timestamp(timestamp_ms)
        found = self._offsets(partitions, spec, Isolation.READ_UNCOMMITTED, self.deadline(timeout_seconds))
        return {where: offset if offset >= 0 else None for where, offset in found.items()}

    def _offsets(
        self, partitions: Collection[TopicPartition], spec: OffsetSpec, isolation: Isolation, deadline: Deadline
    ) -> dict[TopicPartition, int]:
        """Ask for all; then again for those alone whose leader was not ready."""
        found: dict[TopicPartition, int] = {}
        deadline.retrying()(self._fill_offsets, found, partitions, spec, isolation, deadline)
        return {where: found[where] for where in partitions}

    def _fill_offsets(
        self,
        found: dict[TopicPartition, int],
        partitions: Collection[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
        deadline: Deadline,
    ) -> None:
        wanted = {Where(*where): spec for where in partitions if where not in found}
        if not wanted:
            return
        asked = Asked("reading offsets", some({where.topic for where in wanted}), "describe")
        futures = self.ask(
            lambda admin: admin.list_offsets(wanted, isolation_level=LEVELS[isolation], request_timeout=deadline.left_seconds), asked
        )
        answered, failed = self.answers(futures, asked, deadline, lambda where: f"{where.topic}-{where.partition}")
        told = {TopicPartition(where.topic, where.partition): answer.offset for where, answer in answered.items()}
        found |= {where: offset for where, offset in told.items() if offset != OFFSET_INVALID}
        if any(error.fields.get("kafka_code") == KafkaError._NOENT for error in failed.values()):
            self._assert_topics_exist({where.topic for where in wanted}, deadline)
        _raise_worst(list(failed.values()))
        if OFFSET_INVALID in told.values():  # the library's answer, without an error, when a leader gave none in time
            raise unanswered("a partition leader did not answer", asked)

    def _assert_topics_exist(self, topics: set[str], deadline: Deadline) -> None:
        """librdkafka says no more than `no leaders found`: tell topics that are not there from those that have no leader now."""
        asked = Asked("reading offsets", some(topics), "describe")
        futures = self.ask(lambda admin: admin.describe_topics(TopicCollection(list(topics)), request_timeout=deadline.left_seconds), asked)
        self.every_answer(futures, asked, deadline, str)


def _raise_worst(errors: list[CutoverError]) -> None:
    """An error that stays before one that passes, so that it is not waited for."""
    for error in sorted(errors, key=lambda each: isinstance(each, NotReady)):
        raise error
