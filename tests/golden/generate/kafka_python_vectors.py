"""Asks kafka-python where it puts each key. The protocol is in README.md."""

import sys
from importlib.metadata import version

from kafka.partitioner.default import DefaultPartitioner


class Cluster:
    """The three questions that the partitioner asks of the cluster's metadata."""

    def __init__(self, count: int) -> None:
        self.partitions = set(range(count))

    def topics(self) -> set[str]:
        return {"t"}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return self.partitions

    def available_partitions_for_topic(self, _topic: str) -> set[int]:
        return self.partitions


def main() -> None:
    """Reads counts and keys from stdin, writes one line per count."""
    counts = [int(word) for word in sys.stdin.readline().split()]
    keys = [bytes.fromhex(line.strip().removeprefix("-")) for line in sys.stdin]
    partitioner = DefaultPartitioner()
    for count in counts:
        cluster = Cluster(count)
        words = " ".join(str(partitioner.partition("t", key, key, None, None, cluster)) for key in keys)
        print("kafka-python", version("kafka-python"), "DefaultPartitioner", "murmur2", count, words, sep="\t")


if __name__ == "__main__":
    main()
