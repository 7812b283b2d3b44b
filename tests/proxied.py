"""Fixtures of the fault tests: one broker per transaction.version with a listener whose advertised port is the proxy's."""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from cutover.kafka.embedded import EmbeddedKafka, ports
from tests.kafka_options import BRISK
from tests.proxy import Proxy

LISTENER = "PROXIED"
_PATIENCE_SECONDS = 180.0
_PAUSE_SECONDS = 0.02


def on_versions(*transaction_versions: int, slow: tuple[int, ...] = ()) -> pytest.MarkDecorator:
    """Run a test on the brokers of these transaction.versions, the slow ones in the campaign; one broker's tests share a worker."""
    params = [
        pytest.param(
            each, marks=[pytest.mark.xdist_group(f"proxied-{each}"), *([pytest.mark.slow] if each in slow else [])], id=f"tv{each}"
        )
        for each in transaction_versions
    ]
    return pytest.mark.parametrize("proxied", params, indirect=True)


ON_BOTH_VERSIONS = on_versions(2, 1)


@dataclass(frozen=True)
class ProxiedKafka:
    """A running broker, and the port where its proxy has to listen."""

    kafka: EmbeddedKafka
    transaction_version: int
    proxy_port: int

    @property
    def bootstrap(self) -> str:
        """Past the proxy: for producers and judges."""
        return self.kafka.bootstrap_servers

    def create_topics(self, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create topics with so many partitions; they are usable when this returns."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        wanted = [NewTopic(name, partitions, config=dict(config or {})) for name, partitions in topics.items()]
        for future in admin.create_topics(wanted).values():
            future.result(_PATIENCE_SECONDS)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        asked = {TopicPartition(name, number): OffsetSpec.latest() for name, count in topics.items() for number in range(count)}
        while not _answered(admin, asked):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{list(topics)} have no leaders that answer")
            time.sleep(_PAUSE_SECONDS)

    def proxy(self) -> Proxy:
        """A proxy that is not yet listening, with nothing counted and no rules."""
        return Proxy(self.proxy_port, self.kafka.listener_port(LISTENER))


def _answered(admin: AdminClient, asked: dict[TopicPartition, OffsetSpec]) -> bool:
    try:
        return all(future.result(_PATIENCE_SECONDS).offset >= 0 for future in admin.list_offsets(asked).values())
    except KafkaException:
        return False


def proxy_port() -> int:
    """A free port that no other worker chooses too: their `random` has the same seed."""
    while not ports.is_free(port := ports.LOWEST + secrets.randbelow(ports.HIGHEST - ports.LOWEST)):
        pass
    return port


class ProxiedKafkas:
    """Starts a broker for a transaction.version when the first test asks for it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[int, ProxiedKafka] = {}

    def of(self, transaction_version: int) -> ProxiedKafka:
        """The broker of this transaction.version."""
        if transaction_version not in self._running:
            port = proxy_port()
            kafka = EmbeddedKafka(listeners={LISTENER: port}, config=BRISK, transaction_version=transaction_version)
            self._running[transaction_version] = ProxiedKafka(self._stack.enter_context(kafka), transaction_version, port)
        return self._running[transaction_version]


@pytest.fixture(scope="session")
def proxied_kafkas() -> Iterator[ProxiedKafkas]:
    """The brokers behind proxies of this test run."""
    with ExitStack() as stack:
        yield ProxiedKafkas(stack)


@pytest.fixture
def proxied(proxied_kafkas: ProxiedKafkas, request: pytest.FixtureRequest) -> ProxiedKafka:
    """The broker of the transaction.version that the test is parametrised with."""
    return proxied_kafkas.of(int(request.param))


@pytest.fixture
def proxy(proxied: ProxiedKafka) -> Iterator[Proxy]:
    """The proxy of this test alone: fresh counters, fresh rules."""
    with proxied.proxy() as running:
        yield running
