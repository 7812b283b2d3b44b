"""Move a live Kafka topic to one with another number of partitions, and prove it."""

__version__ = "0.1.0"
