"""The one place that builds real adapters and hands them on."""

from cutover.connection import Connection
from cutover.kafka.admin import KafkaCluster


def cluster(connection: Connection) -> KafkaCluster:
    """The control plane of the cluster that the connection reaches; use it in a with block. Nothing is sent yet."""
    return KafkaCluster(connection)
