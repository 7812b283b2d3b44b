"""An embedded cluster of one or three real brokers, as a context manager.

It owns the files and the order of starting and stopping; how one process lives and dies is the broker's.
"""

import contextlib
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cutover.errors import BrokerNotStarted, KafkaInUse
from cutover.kafka.embedded import ports as port_numbers
from cutover.kafka.embedded import registry
from cutover.kafka.embedded.archive import archive_options
from cutover.kafka.embedded.broker import Broker, Upbringing, wait_for
from cutover.kafka.embedded.identity import Identity, own_identity
from cutover.kafka.embedded.jars import class_path, read_lock
from cutover.kafka.embedded.java import find_java, jvm_command
from cutover.kafka.embedded.properties import (
    LOOPBACK,
    ClusterSpec,
    Mechanism,
    Ports,
    Security,
    as_text,
    client_properties,
    listener_names,
    server_properties,
)
from cutover.kafka.embedded.storage import format_nodes, new_cluster_id
from cutover.kafka.embedded.tls import Authority

Listeners = Mapping[str, int | Mapping[int, int]]
ATTEMPTS = 3
READY_SECONDS = 60.0


class EmbeddedKafka:
    """Apache Kafka as child processes on 127.0.0.1; gone when the `with` block ends or this process dies, however it dies.

    `data_dir` keeps everything for the next start (default: a folder that is removed at the end). `port` is that of broker 1, the others
    follow it. `listeners` adds client listeners by name; the value is the port that is *advertised* there (one, or one per broker id), so
    that a proxy can stand in front: it forwards to `listener_port(name)`. `config` adds broker properties. `transaction_version=1` formats
    a cluster whose transactions follow the older protocol. `owner` names another process to live for; `detached=True` lives for nobody.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        data_dir: Path | None = None,
        port: int | None = None,
        heap_mb: int = 512,
        security: Security | None = None,
        listeners: Listeners | None = None,
        config: Mapping[str, str] | None = None,
        transaction_version: int = 2,
        owner: Identity | None = None,
        detached: bool = False,
    ) -> None:
        spread = {name: _per_broker(value, brokers) for name, value in (listeners or {}).items()}
        self.spec = ClusterSpec(brokers, heap_mb, security, spread, dict(config or {}), transaction_version)
        self.temporary = data_dir is None
        self.data_dir = data_dir.absolute() if data_dir else Path(tempfile.gettempdir()) / f"cutover-kafka-{new_cluster_id()}"
        self.cluster_id = ""
        self.brokers: tuple[Broker, ...] = ()
        self._port = port
        self._owner = None if detached else owner or own_identity()
        self._authority: Authority | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every broker, separated by commas."""
        return ",".join(f"{LOOPBACK}:{broker.ports['CLIENT']}" for broker in self.brokers)

    @property
    def logs(self) -> dict[int, Path]:
        """The log file of each broker by id."""
        return {broker.id: broker.log for broker in self.brokers}

    def broker(self, number: int) -> Broker:
        """The broker with this id; ids begin at 1."""
        return self.brokers[number - 1]

    def listener_port(self, name: str, broker: int = 1) -> int:
        """The port on which a listener really listens (not the advertised one)."""
        return self.broker(broker).ports[name]

    def connection(self, user: str | None = None, mechanism: Mechanism = "SCRAM-SHA-512") -> dict[str, str]:
        """librdkafka properties of a client: bootstrap.servers, and how `user` (default: the super user) logs in."""
        result = {"bootstrap.servers": self.bootstrap_servers}
        if self.spec.security and self._authority:
            result |= client_properties(self.spec.security, self._authority, user or self.spec.security.admin, mechanism)
        return result

    def start(self) -> None:
        """Starts all brokers and returns once every one of them serves; raises BrokerNotStarted or KafkaInUse, leaving nothing behind."""
        registry.refuse_if_used(self.data_dir)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start_once()
            except BrokerNotStarted as error:
                self.stop()
                if self._port is not None or attempt == ATTEMPTS or "Address already in use" not in error.why:
                    raise  # somebody took one of our free ports in between: once more with others
            except BaseException:
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """Ends all brokers: in order where the data are kept, at once where they are removed."""
        stopping = [threading.Thread(target=broker.kill if self.temporary else broker.stop) for broker in self.brokers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        registry.forget(self.data_dir)
        if self.temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Returns once the metadata names every broker; raises BrokerNotStarted."""
        wanted = {broker.id for broker in self.brokers}
        with _quiet_admin(self.connection()) as admin:
            if not wait_for(lambda: _known_brokers(admin) >= wanted, seconds):
                raise BrokerNotStarted(f"Only brokers {sorted(_known_brokers(admin))} of {sorted(wanted)} serve after {seconds:.0f} s.")

    def _start_once(self) -> None:
        jars, java = class_path(), find_java()
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._authority = Authority(self.data_dir / "tls") if self.spec.security else None
        ports = self._choose_ports()
        folders = {node: self.data_dir / f"broker-{node}" for node in ports}
        record = self.data_dir / "cluster.json"
        self.cluster_id = self._known_cluster(record) or new_cluster_id()
        if not record.exists():
            format_nodes(self.spec, self.cluster_id, folders, java, jars)
            record.write_text(json.dumps({"cluster_id": self.cluster_id, "kafka": read_lock().kafka, "brokers": self.spec.brokers}))
        command = jvm_command(java, jars, self.spec.heap_mb, *archive_options(java, jars))
        upbringing = Upbringing(command, self._owner, self._remains())
        self.brokers = tuple(Broker(node, folders[node], ports[node], upbringing) for node in ports)
        self._launch(ports)

    def _launch(self, ports: Mapping[int, Ports]) -> None:
        for broker in self.brokers:
            properties = server_properties(self.spec, broker.id, ports, broker.folder, self._authority)
            file = broker.folder / "server.properties"
            file.touch(mode=0o600)  # it holds passwords
            file.write_text(as_text(properties))
            broker.launch()
        registry.remember(self.data_dir, self.temporary, self.bootstrap_servers, [broker.pid_file for broker in self.brokers], self._owner)
        for broker in self.brokers:
            broker.wait_until_listening()
        self.wait_until_ready()

    def _choose_ports(self) -> dict[int, Ports]:
        names = listener_names(self.spec)
        nodes = range(1, self.spec.brokers + 1)
        fixed = {node: {"CLIENT": port_numbers.demand(self._port + node - 1)} if self._port else {} for node in nodes}
        taken = {port for ports in fixed.values() for port in ports.values()}
        free = iter(port_numbers.choose(len(names) * self.spec.brokers, taken))
        return {node: Ports({name: fixed[node].get(name) or next(free) for name in names}) for node in nodes}

    def _known_cluster(self, record: Path) -> str:
        """The cluster id of a data directory that is in use again; empty for a new one."""
        if not record.exists():
            return ""
        known = json.loads(record.read_text())
        if known["brokers"] != self.spec.brokers:
            raise KafkaInUse(
                f"{self.data_dir} holds a cluster of {known['brokers']} brokers, not {self.spec.brokers}.",
                advice=f"Start it with --brokers {known['brokers']}, or choose another --data-dir.",
            )
        return str(known["cluster_id"])

    def _remains(self) -> tuple[Path, ...]:
        """What a supervisor removes when this process dies without stopping its cluster."""
        return (registry.path_of(self.data_dir), *([self.data_dir] if self.temporary else []))


def _per_broker(value: int | Mapping[int, int], brokers: int) -> Mapping[int, int]:
    if isinstance(value, Mapping):
        return value
    return {node: value + node - 1 for node in range(1, brokers + 1)}


def _known_brokers(admin: AdminClient) -> set[int]:
    try:
        return set(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return set()


@contextlib.contextmanager
def _quiet_admin(connection: Mapping[str, str]) -> Iterator[AdminClient]:
    """A client that keeps quiet about refused connections: a cluster that is starting refuses some."""
    settings: dict[str, Any] = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
    settings["error_cb"] = lambda _error: None
    yield AdminClient({**connection, **settings})
