"""The outside world of the contract suite: producers, transactions, members and retention, in memory and for real."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, ShareConsumer
from confluent_kafka import TopicPartition as Where
from confluent_kafka.admin import AdminClient
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from cutover.errors import ProducerFenced, RejectedByBroker
from cutover.model import Committed, GroupType, Header, TopicPartition
from cutover.twin import Twin, TwinMember, TwinProducer

Keyed = tuple[bytes | None, bytes | None]
UNSETTLED = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


class Writing(Protocol):
    def begin(self) -> None: ...
    def produce(self, where: TopicPartition, key: bytes | None, value: bytes | None) -> object: ...
    def send_offsets(self, group: str, positions: Mapping[TopicPartition, Committed]) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


class Joined(Protocol):
    def assigned(self) -> frozenset[TopicPartition]: ...
    def commit(self, positions: Mapping[TopicPartition, Committed]) -> None: ...
    def close(self) -> None: ...


class Actors(Protocol):
    def produce(
        self, where: TopicPartition, records: Collection[Keyed], headers: tuple[Header, ...] = (), timestamp_ms: int | None = None
    ) -> None: ...
    def producer(self, transactional_id: str) -> Writing: ...
    def join(self, group: str, topics: Collection[str], kind: GroupType, instance_id: str | None = None) -> Joined: ...
    def alter_offsets(self, group: str, positions: Mapping[TopicPartition, Committed]) -> None: ...
    def trim(self, where: TopicPartition, before: int) -> None: ...
    def close(self) -> None: ...


class TwinActors:
    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._producer = twin.idempotent_producer()

    def produce(
        self, where: TopicPartition, records: Collection[Keyed], headers: tuple[Header, ...] = (), timestamp_ms: int | None = None
    ) -> None:
        for key, value in records:
            self._twin.append(where, key, value, headers, timestamp_ms=timestamp_ms, producer=self._producer)

    def producer(self, transactional_id: str) -> TwinProducer:
        return self._twin.producer(transactional_id)

    def join(self, group: str, topics: Collection[str], kind: GroupType, instance_id: str | None = None) -> TwinMember:
        return self._twin.join(group, topics, kind, instance_id)

    def alter_offsets(self, group: str, positions: Mapping[TopicPartition, Committed]) -> None:
        self._twin.alter_offsets(group, positions)

    def trim(self, where: TopicPartition, before: int) -> None:
        self._twin.trim(where, before)

    def close(self) -> None: ...


class RealWriting:
    def __init__(self, config: dict[str, object], transactional_id: str) -> None:
        self._config = config
        self._producer = Producer({**config, "transactional.id": transactional_id, "linger.ms": 0})
        again_while_loading(lambda: self._producer.init_transactions(30))

    def begin(self) -> None:
        self._producer.begin_transaction()

    def produce(self, where: TopicPartition, key: bytes | None, value: bytes | None) -> None:
        self._producer.produce(where.topic, value, key, where.partition)
        assert self._producer.flush(30) == 0

    def send_offsets(self, group: str, positions: Mapping[TopicPartition, Committed]) -> None:
        stranger = Consumer({**self._config, "group.id": group})  # never joins
        self._producer.send_offsets_to_transaction(offsets(positions), stranger.consumer_group_metadata(), 30)
        stranger.close()

    def commit(self) -> None:
        unfenced(lambda: self._producer.commit_transaction(30))

    def abort(self) -> None:
        unfenced(lambda: self._producer.abort_transaction(30))


class RealJoined:
    def __init__(self, config: dict[str, object], topics: Collection[str]) -> None:
        self._consumer = Consumer(config)
        self._consumer.subscribe(list(topics))

    def assigned(self) -> frozenset[TopicPartition]:
        self._consumer.poll(0.05)
        return frozenset(TopicPartition(each.topic, each.partition) for each in self._consumer.assignment())

    def commit(self, positions: Mapping[TopicPartition, Committed]) -> None:
        self._consumer.commit(offsets=offsets(positions), asynchronous=False)

    def close(self) -> None:
        self._consumer.close()


class RealSharing:
    def __init__(self, config: dict[str, object], topics: Collection[str]) -> None:
        self._consumer = ShareConsumer(config)
        self._consumer.subscribe(list(topics))

    def assigned(self) -> frozenset[TopicPartition]:
        self._consumer.poll(0.05)
        return frozenset()

    def commit(self, positions: Mapping[TopicPartition, Committed]) -> None:
        raise NotImplementedError("a share group has no positions")

    def close(self) -> None:
        self._consumer.close()


class RealActors:
    def __init__(self, bootstrap: str) -> None:
        self._config: dict[str, object] = {"bootstrap.servers": bootstrap, "error_cb": lambda _: None, "log_level": 2}
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._producer = Producer({**self._config, "enable.idempotence": True, "linger.ms": 0})
        self._joined: list[RealJoined | RealSharing] = []

    def produce(
        self, where: TopicPartition, records: Collection[Keyed], headers: tuple[Header, ...] = (), timestamp_ms: int | None = None
    ) -> None:
        stamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        for key, value in records:
            self._producer.produce(where.topic, value, key, where.partition, timestamp=stamp, headers=list(headers))
        assert self._producer.flush(30) == 0

    def producer(self, transactional_id: str) -> RealWriting:
        return RealWriting(self._config, transactional_id)

    def join(self, group: str, topics: Collection[str], kind: GroupType, instance_id: str | None = None) -> RealJoined | RealSharing:
        config: dict[str, object] = {**self._config, "group.id": group}
        if kind is GroupType.SHARE:
            self._joined.append(RealSharing(config, topics))
            return self._joined[-1]
        config |= {"enable.auto.commit": False, "auto.offset.reset": "earliest", "group.protocol": kind.value}
        config |= {"group.instance.id": instance_id} if instance_id else {}
        config |= {"session.timeout.ms": 6000} if kind is GroupType.CLASSIC else {}
        self._joined.append(RealJoined(config, topics))
        return self._joined[-1]

    @retry(retry=retry_if_exception_type(RejectedByBroker), stop=stop_after_delay(15), wait=wait_fixed(0.1), reraise=True)
    def alter_offsets(self, group: str, positions: Mapping[TopicPartition, Committed]) -> None:
        """A coordinator may not know a topic yet that was created a moment ago."""
        found = self._altered(ConsumerGroupTopicPartitions(group, offsets(positions)))
        refused = [each.error for each in found.topic_partitions or () if each.error is not None]
        if refused:
            raise RejectedByBroker(str(refused[0]))

    def _altered(self, request: ConsumerGroupTopicPartitions) -> ConsumerGroupTopicPartitions:
        """Ask again while the coordinator of a new group is being found: librdkafka does not."""
        deadline = time.monotonic() + 90
        while True:
            try:
                altered: ConsumerGroupTopicPartitions = self._admin.alter_consumer_group_offsets([request])[request.group_id].result(30)
            except KafkaException as error:
                if error.args[0].code() not in UNSETTLED or time.monotonic() > deadline:
                    raise RejectedByBroker(str(error)) from error
            else:
                return altered

    def trim(self, where: TopicPartition, before: int) -> None:
        for future in self._admin.delete_records([Where(where.topic, where.partition, before)]).values():
            future.result(30)

    def close(self) -> None:
        for each in self._joined:
            each.close()


def offsets(positions: Mapping[TopicPartition, Committed]) -> list[Where]:
    return [Where(where.topic, where.partition, each.offset, metadata=each.metadata) for where, each in positions.items()]


def unfenced(call: Callable[[], object]) -> None:
    try:
        call()
    except KafkaException as error:
        if error.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
            raise ProducerFenced(str(error)) from error
        raise


def again_while_loading(call: Callable[[], object]) -> None:
    for _ in range(10):
        try:
            call()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
        else:
            return
    raise AssertionError("the transaction coordinator never answered")
