"""The control plane of a real cluster: cutover.ports.Cluster over librdkafka and kafka-python."""

from cutover.kafka.acls import KafkaAcls
from cutover.kafka.groups import KafkaGroups
from cutover.kafka.offsets import KafkaOffsets
from cutover.kafka.topics import KafkaTopics
from cutover.kafka.transactions import KafkaTransactions


class KafkaCluster(KafkaTopics, KafkaOffsets, KafkaGroups, KafkaAcls, KafkaTransactions):
    """Implements Cluster for one connection; use it in a with block, from any number of threads."""
