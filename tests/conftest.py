"""Fixtures of the whole suite: the cluster, topics with names of their own, and waiting for what can be observed."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from hypothesis import settings

settings.register_profile("cutover", deadline=None)  # the machine is shared: how long one example takes says nothing
settings.load_profile("cutover")
SLOW_MACHINE = 3
"""What a test waits for comes in the seconds that it names on a quiet machine; it is patient for so many times as long."""
pytest_plugins = ["tests.kafka_options", "tests.proxied"]


class MakeTopic(Protocol):
    def __call__(self, partitions: int = 1, config: Mapping[str, str] | None = None, name: str = "topic") -> str: ...


class WaitUntil(Protocol):
    def __call__(self, predicate: Callable[[], object], seconds: float, what: str) -> None: ...


@pytest.fixture(scope="session")
def bootstrap(pytestconfig: pytest.Config) -> str:
    """host:port of the suite's cluster."""
    from tests.kafka_options import bootstrap_servers  # late: pytest rewrites the assertions of a plugin that nobody imported before it

    return bootstrap_servers(pytestconfig)


@pytest.fixture(scope="session")
def admin(bootstrap: str) -> AdminClient:
    """An admin client of the suite's cluster, shared by the tests of one worker."""
    return AdminClient({"bootstrap.servers": bootstrap})


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """What a test started, ended in reverse order after it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def topic(admin: AdminClient, wait_until: WaitUntil) -> Iterator[MakeTopic]:
    """Makes topics with unique names, usable when they are returned, removed after the test."""
    made: list[str] = []

    def make(partitions: int = 1, config: Mapping[str, str] | None = None, name: str = "topic") -> str:
        unique = f"{name}-{uuid.uuid4().hex[:10]}"
        admin.create_topics([NewTopic(unique, partitions, config=dict(config or {}))])[unique].result(30)
        made.append(unique)
        wait_until(lambda: usable(admin, unique, partitions), 30, f"{unique} has leaders that answer")
        return unique

    yield make
    for future in admin.delete_topics(made).values() if made else ():
        if (error := future.exception(30)) and error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise error  # a test may have removed its topic itself, but nothing else may go wrong


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """Polls until the predicate is true; fails naming what did not come, never sleeps longer than needed."""

    def wait(predicate: Callable[[], object], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds * SLOW_MACHINE
        while not predicate():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds * SLOW_MACHINE:g} s: {what}")
            time.sleep(0.02)

    return wait


def usable(admin: AdminClient, topic: str, partitions: int) -> bool:
    """Whether every partition's leader answers for its end offset: leaders in the metadata alone are not enough."""
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)}
    try:
        return all(future.result(5).offset >= 0 for future in admin.list_offsets(asked).values())
    except KafkaException:
        admin.list_topics(topic, timeout=5)  # else librdkafka may keep "no leaders found" for as long as anybody asks
        return False
