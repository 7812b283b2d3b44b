"""Fixtures for tests of clients: a control topic of the test's own, a driver over it, and what stands in topics."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from cutover.client import Producer
from tests.conformance.driving import Driver, read_committed
from tests.conftest import MakeTopic

ReadAll = Callable[[str], list[Message]]
Make = Callable[..., Producer]


@pytest.fixture
def control(topic: MakeTopic) -> str:
    """A control topic of the test's own."""
    return topic(1, {"retention.ms": "-1"}, name="control")


@pytest.fixture
def driver(bootstrap: str, control: str) -> Iterator[Driver]:
    with Driver(bootstrap, control) as made:
        yield made


@pytest.fixture
def settings(bootstrap: str, control: str) -> dict[str, Any]:
    """What every client of a test is configured with."""
    return {"bootstrap.servers": bootstrap, "cutover.control.topic": control, "cutover.hold.timeout": 20}


@pytest.fixture
def read_all(bootstrap: str, admin: AdminClient) -> ReadAll:
    """Everything that stands in a topic now, committed."""

    def read(topic: str) -> list[Message]:
        count = len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
        return read_committed(bootstrap, topic, count)

    return read


@pytest.fixture
def pair(topic: MakeTopic) -> tuple[str, str]:
    """A source and a target of twice its partitions."""
    return topic(3, name="source"), topic(6, name="target")


@pytest.fixture
def make(settings: dict[str, Any], pair: tuple[str, str]) -> Iterator[Make]:
    """Makes producers that follow the source, closed after the test."""
    made: list[Producer] = []

    def producer(**more: Any) -> Producer:  # noqa: ANN401
        made.append(Producer({**settings, "cutover.topic": pair[0], "partitioner": "murmur2", **more}))
        return made[-1]

    yield producer
    for each in made:
        each.close()


def program(name: str) -> str:
    """The path of a program that tests start as a process of its own."""
    return str(Path(__file__).parent / name)
