"""Positions of groups, stable ones only, all groups of a coordinator in one request (KIP-709).

Through kafka-python: librdkafka 2.16 ends the process with a segmentation fault when its admin client asks for stable
positions and the coordinator answers that it is loading or elsewhere (rd_kafka_handle_OffsetFetch queries the consumer
group of a client that has none), and it takes one group a call.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import kafka
from kafka.errors import NoError, UnstableOffsetCommitError, for_code

from cutover.model import PENDING, Committed, Position, TopicPartition


class StableAdmin(kafka.KafkaAdminClient):  # type: ignore[misc]
    """kafka-python's admin client, asking for stable positions and telling a pending one from the rest of its group."""

    def _list_group_offsets_requests(self, group_specs: Mapping[str, Any]) -> Iterator[tuple[str | None, Any]]:
        for name, request in super()._list_group_offsets_requests(group_specs):
            request.require_stable = True
            yield name, request

    def decided(self, group: str, partitions: Collection[Any]) -> dict[TopicPartition, Position]:
        """A group's positions as they were last decided."""
        found: dict[TopicPartition, Position] = self._manager.run(self._async_decided, group, list(partitions))
        return found

    async def _async_decided(self, group: str, partitions: list[Any]) -> dict[TopicPartition, Position]:
        [coordinator] = (await self._find_coordinator_ids([group])).values()
        [(name, request)] = super()._list_group_offsets_requests({group: partitions})
        request.require_stable = False
        answer = await self._manager.send(request, node_id=coordinator)
        found: dict[TopicPartition, Position] = self._list_group_offsets_process_response(answer, group_id=name)[group]
        return found

    @staticmethod
    def _parse_group_offsets(group: Any) -> dict[TopicPartition, Position]:  # noqa: ANN401
        _raise(group.error_code)
        return {TopicPartition(topic.name, found.partition_index): _position(found) for topic in group.topics for found in topic.partitions}


def _position(found: Any) -> Position:  # noqa: ANN401
    if found.error_code == UnstableOffsetCommitError.errno:
        return PENDING
    _raise(found.error_code)
    metadata = (found.metadata or "").rstrip("\0")  # librdkafka commits an absent metadata as one zero byte
    return Committed(found.committed_offset, metadata) if found.committed_offset >= 0 else None


def _raise(code: int) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error()
