"""Embedded Apache Kafka: one or three real brokers as child processes on the loopback address."""

from cutover.kafka.embedded.broker import Broker
from cutover.kafka.embedded.cluster import EmbeddedKafka
from cutover.kafka.embedded.properties import Security

__all__ = ["Broker", "EmbeddedKafka", "Security"]
