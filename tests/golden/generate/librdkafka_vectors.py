"""Asks librdkafka where it puts each key: real producers against librdkafka's own mock cluster, the answer from delivery reports.

The mock cluster's topics need a partition count each, which only librdkafka's C API gives: hence ctypes on the library that
confluent-kafka carries. The protocol is in README.md.
"""

import ctypes
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import confluent_kafka

SETTINGS = {
    "consistent_random": "crc32",
    "consistent": "crc32_consistent",
    "murmur2_random": "murmur2",
    "murmur2": "murmur2",
    "fnv1a_random": "fnv1a",
    "fnv1a": "fnv1a",
}
TRIES_OF_EMPTY_KEY = 64
RANDOM = "-"


def mock_cluster(counts: list[int]) -> str:
    """Starts a mock cluster in this process with a topic t-COUNT for each count; returns its bootstrap servers."""
    libraries = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(libraries.glob("librdkafka*.so*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    reason = ctypes.create_string_buffer(512)
    handle = library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), reason, ctypes.c_size_t(512))
    if not handle:
        raise RuntimeError(reason.value.decode())
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(handle), 1))
    for count in counts:
        failed = library.rd_kafka_mock_topic_create(cluster, f"t-{count}".encode(), count, 1)
        if failed:
            raise RuntimeError(f"mock topic with {count} partitions: error {failed}")
    return bytes(library.rd_kafka_mock_cluster_bootstraps(cluster)).decode()


def placements(bootstrap: str, setting: str, count: int, keys: list[bytes]) -> Iterator[str]:
    """One word per key: its partition, or - where repeated records of the key went to several."""
    seen: dict[int, set[int]] = defaultdict(set)

    def delivered(index: int, error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is not None:
            raise confluent_kafka.KafkaException(error)
        where = message.partition()
        assert where is not None
        seen[index].add(where)

    config = {"bootstrap.servers": bootstrap, "partitioner": setting, "sticky.partitioning.linger.ms": 0, "linger.ms": 1}
    producer = confluent_kafka.Producer(config)
    for index, key in enumerate(keys):
        for _ in range(1 if key else TRIES_OF_EMPTY_KEY):
            producer.produce(f"t-{count}", key=key, value=b"", on_delivery=partial(delivered, index))
    if producer.flush(60):
        raise RuntimeError(f"{setting} with {count} partitions: some records were not delivered")
    for index in range(len(keys)):
        yield str(min(seen[index])) if len(seen[index]) == 1 else RANDOM


def main() -> None:
    """Reads counts and keys from stdin, writes one line per setting and count."""
    counts = [int(word) for word in sys.stdin.readline().split()]
    keys = [bytes.fromhex(line.strip().removeprefix("-")) for line in sys.stdin]
    bootstrap = mock_cluster(counts)
    version = f"{confluent_kafka.libversion()[0]} in confluent-kafka {confluent_kafka.version()}"
    for count in counts:
        for setting, family in SETTINGS.items():
            words = " ".join(placements(bootstrap, setting, count, keys))
            print("librdkafka", version, f"partitioner={setting}", family, count, words, sep="\t")


if __name__ == "__main__":
    main()
