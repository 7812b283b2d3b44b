"""The embedded Kafka against itself: it serves, and it does not outlive who started it."""

import pytest
from confluent_kafka import Producer

from tests.conftest import MakeTopic


@pytest.mark.kafka
def test_a_record_written_to_the_suites_cluster_is_acknowledged(bootstrap: str, topic: MakeTopic) -> None:
    name = topic(partitions=3)
    acknowledged: list[int | None] = []
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(name, b"value", b"key", partition=2, on_delivery=lambda _error, message: acknowledged.append(message.offset()))
    assert producer.flush(10) == 0
    assert acknowledged == [0]
