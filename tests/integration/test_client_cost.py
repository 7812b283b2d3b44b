"""What the client library costs an application whose topic has no pair; tests/bench/client.py measures it properly."""

import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest

from cutover.client import Producer
from tests.bench.client import ratio
from tests.conftest import MakeTopic

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client")]
BOUND = 1.3
"""Generous: two plain clients differ by a tenth from each other on a busy machine. In time of the calling thread's own."""


@pytest.fixture
def source(topic: MakeTopic) -> str:
    return topic(3, name="source")


@pytest.fixture
def ours(bootstrap: str, topic: MakeTopic, source: str) -> Iterator[Producer]:
    control = topic(1, {"retention.ms": "-1"}, name="control")
    with Producer({**plain_settings(bootstrap), "cutover.topic": source, "cutover.control.topic": control}) as producer:
        yield producer


def plain_settings(bootstrap: str) -> dict[str, Any]:
    return {"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}


def test_without_a_pair_a_record_costs_what_it_costs_with_the_plain_client(bootstrap: str, ours: Producer, source: str) -> None:
    plain = confluent_kafka.Producer(plain_settings(bootstrap))
    assert ratio(ours, plain, source, rounds=7, records=30_000, clock=time.thread_time) < BOUND


def test_the_same_measure_sees_the_gate(bootstrap: str, ours: Producer, source: str) -> None:
    plain = confluent_kafka.Producer(plain_settings(bootstrap))
    ours.produce(source, b"first")
    assert ours.flush(60) == 0
    gated = Producer.produce.__get__(ours)
    vars(ours)["produce"] = gated
    assert ratio(ours, plain, source, rounds=5, records=30_000, clock=time.thread_time) > BOUND
