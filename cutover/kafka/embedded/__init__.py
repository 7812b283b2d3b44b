"""Embedded Apache Kafka: one or three real brokers as child processes on the loopback address."""

import sys

from cutover.errors import EmbeddedMissing

if sys.platform == "win32":
    raise EmbeddedMissing("The embedded Kafka runs on Linux and macOS only.", advice="Use WSL, or a Kafka that runs elsewhere.")

from cutover.kafka.embedded.broker import Broker
from cutover.kafka.embedded.cluster import EmbeddedKafka
from cutover.kafka.embedded.properties import Security

__all__ = ["Broker", "EmbeddedKafka", "Security"]
