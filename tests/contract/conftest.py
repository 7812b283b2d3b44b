"""One world, twice: the twin and a real cluster. What passes on one and not on the other is a defect of the twin or of the adapter."""

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from cutover.connection import Connection
from cutover.kafka.admin import KafkaCluster
from cutover.kafka.embedded import EmbeddedKafka
from cutover.kafka.embedded.properties import Security
from cutover.kafka.reader import KafkaReader
from cutover.model import TopicPartition
from cutover.ports import Cluster, Reader
from cutover.twin import Twin
from tests.conftest import WaitUntil
from tests.contract.actors import Actors, RealActors, TwinActors
from tests.contract.secured import Secured


@dataclass
class World:
    """A cluster behind the ports, the actors around it, and names that nobody else uses."""

    cluster: Cluster
    reader: Reader
    actors: Actors
    wait_until: WaitUntil
    real: bool
    made: list[str] = field(default_factory=list)

    def name(self, what: str) -> str:
        return f"{what}-{uuid.uuid4().hex[:10]}"

    def topic(self, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        name = self.name("contract")
        self.cluster.create_topic(name, partitions, replication_factor=1, configs=configs, timeout_seconds=60)
        self.made.append(name)
        return name

    def partition(self, configs: Mapping[str, str] | None = None) -> TopicPartition:
        return TopicPartition(self.topic(1, configs), 0)

    def until(self, predicate: Callable[[], object], what: str) -> None:
        self.wait_until(predicate, 30, what)

    def clean(self) -> None:
        present = self.cluster.topic_names() & set(self.made)
        for name, found in self.cluster.describe_topics(present).items():
            self.cluster.delete_topic(name, found.topic_id)


@pytest.fixture(scope="session")
def real_cluster(bootstrap: str) -> Iterator[KafkaCluster]:
    with KafkaCluster(Connection.load(bootstrap=bootstrap), timeout_seconds=30) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def secured() -> Iterator[Secured]:
    """Started once per worker, when first asked for."""
    with EmbeddedKafka(security=Security(users={"stranger": "stranger-word"})) as kafka:
        yield Secured(kafka)


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.kafka)])
def world(request: pytest.FixtureRequest, wait_until: WaitUntil) -> Iterator[World]:
    if request.param == "twin":
        twin = Twin(seed=next(SEEDS))
        yield World(twin, twin, TwinActors(twin), wait_until, real=False)
        return
    bootstrap = request.getfixturevalue("bootstrap")
    reader = KafkaReader(Connection.load(bootstrap=bootstrap), timeout_seconds=30)
    actors = RealActors(bootstrap)
    made = World(request.getfixturevalue("real_cluster"), reader, actors, wait_until, real=True)
    try:
        yield made
    finally:
        actors.close()
        made.clean()


SEEDS = itertools.count()
