"""The twin of the engine's transactional writes: group positions and control records, under one fenced id."""
# ruff: noqa: ARG002  (it answers at once: timeouts are part of the port, with nothing to do here)

from collections.abc import Mapping, Sequence

from cutover.model import Committed, ControlRecord, TopicPartition
from cutover.twin.cluster import Twin


class TwinWriter:
    """Implements Positions and ControlLog; a second one of the same id fences the first."""

    def __init__(self, twin: Twin, transactional_id: str = "cutover.driver") -> None:
        """Take the transactional id over."""
        self._producer = twin.producer(transactional_id)

    def commit_positions(self, group: str, positions: Mapping[TopicPartition, Committed], *, timeout_seconds: float | None = None) -> None:
        """Commit all positions or none."""
        self._producer.begin()
        self._producer.send_offsets(group, positions)
        self._producer.commit()

    def write_control(self, topic: str, records: Sequence[ControlRecord], *, timeout_seconds: float | None = None) -> tuple[int, ...]:
        """Append all records to partition 0 or none."""
        self._producer.begin()
        where = TopicPartition(topic, 0)
        offsets = tuple(self._producer.produce(where, record.key, record.value, record.headers) for record in records)
        self._producer.commit()
        return offsets
