"""The Kafka that the suite runs against: --kafka=embedded (default), container, or HOST:PORT.

One cluster for the whole run, shared by all xdist workers: the first test that needs it starts it, the process that began the run ends it.
"""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cutover.kafka.embedded import EmbeddedKafka, registry
from cutover.kafka.embedded.identity import Identity, own_identity

IMAGE = "apache/kafka:4.3.1"
STARTED: list[EmbeddedKafka] = []
SHARED = pytest.StashKey[Path]()
OWNER = pytest.StashKey[Identity]()

# A suite cannot wait for the clean-up intervals of a production broker.
BRISK = {
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.cleaner.backoff.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kafka", default="embedded", help="embedded (default), container, or HOST:PORT of a cluster of yours")


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", None)
    if worker:
        config.stash[SHARED] = Path(worker["kafka_shared"])
        config.stash[OWNER] = Identity(*worker["kafka_owner"])
    else:
        config.stash[SHARED] = Path(tempfile.mkdtemp(prefix="cutover-suite-"))
        config.stash[OWNER] = own_identity()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401
    node.workerinput["kafka_shared"] = str(node.config.stash[SHARED])
    node.workerinput["kafka_owner"] = list(node.config.stash[OWNER])


def pytest_unconfigure(config: pytest.Config) -> None:
    shared = config.stash.get(SHARED, None)
    if shared is None or hasattr(config, "workerinput"):
        return
    started = _read(shared / "kafka.json")
    for kafka in STARTED:
        kafka.stop()
    if "data_dir" in started and not STARTED:
        _end_the_workers_cluster(Path(started["data_dir"]))
    if "container" in started:
        _remove_container(started["container"])
    shutil.rmtree(shared, ignore_errors=True)


def bootstrap_servers(config: pytest.Config) -> str:
    """The suite's cluster, started if no other worker has; skips with the reason where a container engine is missing."""
    choice = str(config.getoption("--kafka"))
    if choice not in ("embedded", "container"):
        return choice
    shared = config.stash[SHARED]
    with _alone(shared / "lock"):
        started = _read(shared / "kafka.json")
        if not started:
            started = _start_embedded(config.stash[OWNER]) if choice == "embedded" else _start_container()
            (shared / "kafka.json").write_text(json.dumps(started))
    if "missing" in started:
        pytest.skip(started["missing"])
    return str(started["bootstrap_servers"])


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, str]:
    document: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return document


def _start_embedded(owner: Identity) -> dict[str, str]:
    kafka = EmbeddedKafka(config=BRISK, owner=owner)
    kafka.start()
    STARTED.append(kafka)
    return {"bootstrap_servers": kafka.bootstrap_servers, "data_dir": str(kafka.data_dir)}


def _start_container() -> dict[str, str]:
    """Apache's own image with one advertised port on the loopback address."""
    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    from cutover.kafka.embedded import ports

    port = ports.choose(1, set())[0]
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        **BRISK,
    }
    try:
        container = DockerContainer(IMAGE)
        for key, value in settings.items():
            container.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
        container.ports[9092] = ("127.0.0.1", port)
        container.waiting_for(LogMessageWaitStrategy("Kafka Server started")).start()
    except DockerException as error:
        return {"missing": f"--kafka=container: no container engine answers ({str(error)[:150]})"}
    return {"bootstrap_servers": f"127.0.0.1:{port}", "container": container.get_wrapped_container().id}


def _end_the_workers_cluster(data_dir: Path) -> None:
    for cluster in registry.clusters():
        if cluster.data_dir == data_dir:
            registry.end(cluster)


def _remove_container(number: str) -> None:
    import docker

    docker.from_env().containers.get(number).remove(force=True)
