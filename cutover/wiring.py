"""Builds what a command needs around a connection: the adapters of this program behind the ports."""

from cutover.connection import Connection
from cutover.engine.control import Control
from cutover.kafka.admin import KafkaCluster
from cutover.kafka.reader import KafkaReader
from cutover.ports import Topics


def cluster(connection: Connection) -> KafkaCluster:
    """The control plane of the cluster that the connection reaches; use it in a with block. Nothing is sent yet."""
    return KafkaCluster(connection)


def reader(connection: Connection) -> KafkaReader:
    """Reads ranges over librdkafka. Nothing is opened before a read."""
    return KafkaReader(connection)


def control(connection: Connection, topics: Topics, *, transactional_id: str = "") -> Control:
    """The engine's hand on the cluster; without a transactional id it translates and writes nothing of its own."""
    return Control(connection, topics, transactional_id=transactional_id)
