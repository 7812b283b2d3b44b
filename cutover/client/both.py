"""How the two records of one produce() in mode DUAL go into a transaction, and which partition each takes.

A record that its key does not place is put by the plan's policy for null keys, as if the mirror had copied it (docs/partitioners.md).
"""

import random
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from cutover.client.deliveries import Callback
from cutover.client.dual import Dual, Entry
from cutover.client.transactor import Transactor
from cutover.partitioners import family, null_key_partition

STICKY_SECONDS = 0.01
"""How long records without a partition of their own go to the same one: each partition of a transaction costs a marker."""
KEY_IGNORED = "random"
"""The partitioner of librdkafka that looks at no key."""


class Both:
    """The pen of a client with this `partitioner` of librdkafka."""

    def __init__(self, partitioner: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._family = None if partitioner == KEY_IGNORED else family(partitioner)
        self._hashes_none = self._family is not None and not partitioner.endswith("_random")
        self._clock = clock
        self._share, self._until = 0.0, float("-inf")

    def write(self, transactor: Transactor, entry: Entry, reported: Callback) -> None:
        """Both records; raises what the plain client's produce() would. With the first alone the transaction cannot be committed."""
        dual, more = entry.dual, {"timestamp": entry.timestamp, "headers": entry.headers}
        partition = self.source(dual, entry.key, entry.partition)
        transactor.produce(dual.source, entry.value, entry.key, partition, reported, **more)
        try:
            child = self.target(dual, entry.key, partition)
            transactor.produce(dual.target, entry.value, entry.key, child, reported, **more)
        except BaseException as error:
            transactor.spoil(KafkaError(KafkaError._INVALID_ARG, f"a record was taken for one topic only: {error}"))
            raise

    def source(self, dual: Dual, key: bytes | None, partition: int) -> int:
        """The partition that the application named, else that of the key (-1: the client knows); without a key one of all."""
        if partition >= 0 or self._decides(key):
            return partition
        count = dual.partitions[0]
        if self._family is not None and self._hashes_none:
            return self._family.place(b"", count)
        return int(self._chosen() * count)

    def target(self, dual: Dual, key: bytes | None, source_partition: int) -> int:
        """That of the key (-1: the client knows); without a key the child with the parent's number, or any child by chance."""
        if self._decides(key):
            return -1
        return null_key_partition(dual.null_keys, source_partition, random.getrandbits(32), *dual.partitions)

    def _decides(self, key: bytes | None) -> bool:
        return self._family is not None and self._family.decides(key)

    def _chosen(self) -> float:
        now = self._clock()
        if now >= self._until:
            self._share, self._until = random.random(), now + STICKY_SECONDS
        return self._share
