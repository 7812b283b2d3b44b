"""Reads the frames of Kafka's protocol as far as the proxy and its rules need: headers, and the ids inside transactional requests.

It never builds or changes a frame. Layouts: https://kafka.apache.org/protocol and the message definitions of Apache Kafka 4.3.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

API_NAMES = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    17: "SaslHandshake",
    18: "ApiVersions",
    22: "InitProducerId",
    23: "OffsetForLeaderEpoch",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
    36: "SaslAuthenticate",
    61: "DescribeProducers",
    65: "DescribeTransactions",
    66: "ListTransactions",
    68: "ConsumerGroupHeartbeat",
}

# From this version on, strings are compact and headers carry tagged fields.
FLEXIBLE_FROM = {"Produce": 9, "InitProducerId": 2, "AddPartitionsToTxn": 3, "AddOffsetsToTxn": 3, "EndTxn": 3, "TxnOffsetCommit": 3}

# What follows the transactional id in the requests that begin with one: (field, layout) in order.
TRANSACTIONAL_FIELDS: dict[str, tuple[tuple[str, str], ...]] = {
    "Produce": (("acks", "h"),),
    "InitProducerId": (("timeout_ms", "i"),),
    "AddPartitionsToTxn": (("producer_id", "q"), ("producer_epoch", "h")),
    "AddOffsetsToTxn": (("producer_id", "q"), ("producer_epoch", "h"), ("group_id", "string")),
    "EndTxn": (("producer_id", "q"), ("producer_epoch", "h"), ("committed", "?")),
    "TxnOffsetCommit": (("group_id", "string"), ("producer_id", "q"), ("producer_epoch", "h")),
}
_FIRST_BATCHED_ADD_PARTITIONS = 4  # brokers only: an array of transactions comes first


class FrameError(Exception):
    """A frame does not have the layout that its header announces."""


class Cursor:
    """Reads one value after the other from bytes; flexible says which encoding strings and arrays have."""

    def __init__(self, of: bytes, at: int = 0, *, flexible: bool = False) -> None:
        self.of, self.at, self.flexible = of, at, flexible

    def number(self, layout: str) -> int:
        """Read one big-endian number of struct's layout."""
        try:
            (value,) = struct.unpack_from(f">{layout}", self.of, self.at)
        except struct.error as short:
            raise FrameError(f"the frame ends at byte {len(self.of)}, inside a value at byte {self.at}") from short
        self.at += struct.calcsize(f">{layout}")
        return int(value)

    def unsigned_varint(self) -> int:
        """Read a number of 7 bits a byte, the lowest first."""
        value, shift = 0, 0
        while True:
            byte = self.number("B")
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    def string(self) -> str | None:
        """Read a nullable string."""
        size = self.unsigned_varint() - 1 if self.flexible else self.number("h")
        return None if size < 0 else self.take(size).decode()

    def legacy_string(self) -> str | None:
        """Read a nullable string with a length of two bytes, as the client id is in every header."""
        size = self.number("h")
        return None if size < 0 else self.take(size).decode()

    def array(self) -> Iterator[int]:
        """Walk the indexes of an array whose length comes next."""
        return iter(range(self.unsigned_varint() - 1 if self.flexible else self.number("i")))

    def tagged_fields(self) -> None:
        """Pass over tagged fields; there are none in the older encoding."""
        if not self.flexible:
            return
        for _ in range(self.unsigned_varint()):
            self.unsigned_varint()
            self.take(self.unsigned_varint())

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        if self.at + size > len(self.of):
            raise FrameError(f"the frame ends at byte {len(self.of)}, {self.at + size} were announced")
        self.at += size
        return self.of[self.at - size : self.at]


@dataclass(frozen=True)
class Transactional:
    """The ids inside a transactional request; None where that request has no such field."""

    transactional_id: str | None
    producer_id: int | None = None
    producer_epoch: int | None = None
    committed: bool | None = None
    group_id: str | None = None


@dataclass(frozen=True)
class Request:
    """One request frame: its bytes as they came, length prefix included, and its parsed header."""

    raw: bytes
    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body_at: int

    @classmethod
    def parse(cls, raw: bytes) -> "Request":
        """Read the header; raises FrameError when the frame is too short for it."""
        cursor = Cursor(raw, 4)
        key, version, correlation = cursor.number("h"), cursor.number("h"), cursor.number("i")
        client_id = cursor.legacy_string()
        api = API_NAMES.get(key, "")
        cursor.flexible = version >= FLEXIBLE_FROM.get(api, version + 1)
        cursor.tagged_fields()
        return cls(raw, key, version, correlation, client_id, cursor.at)

    @property
    def api(self) -> str:
        """The request's name, or its number where this table has none."""
        return API_NAMES.get(self.api_key, str(self.api_key))

    @property
    def flexible(self) -> bool:
        """Whether the body has the compact encoding; known for the transactional requests alone."""
        return self.api_version >= FLEXIBLE_FROM.get(self.api, self.api_version + 1)

    @property
    def body(self) -> bytes:
        """What follows the header."""
        return self.raw[self.body_at :]

    @cached_property
    def transactional(self) -> Transactional | None:
        """The ids of a transactional request; None for any other."""
        fields = TRANSACTIONAL_FIELDS.get(self.api)
        if fields is None or (self.api == "AddPartitionsToTxn" and self.api_version >= _FIRST_BATCHED_ADD_PARTITIONS):
            return None
        cursor = Cursor(self.raw, self.body_at, flexible=self.flexible)
        found: dict[str, str | int | None] = {"transactional_id": cursor.string()}
        for name, layout in fields:
            found[name] = cursor.string() if layout == "string" else cursor.number(layout)
        ended = found.get("committed")
        return Transactional(
            transactional_id=_text(found["transactional_id"]),
            producer_id=_whole(found.get("producer_id")),
            producer_epoch=_whole(found.get("producer_epoch")),
            committed=None if ended is None else bool(ended),
            group_id=_text(found.get("group_id")),
        )


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _whole(value: str | int | None) -> int | None:
    return None if value is None else int(value)


@dataclass(frozen=True)
class Answer:
    """One response frame and the request that it answers."""

    raw: bytes
    request: Request

    @property
    def error_code(self) -> int:
        """Kafka's error code: of EndTxn and InitProducerId the one there is, of TxnOffsetCommit the first that is not 0."""
        cursor = Cursor(self.raw, 8, flexible=self.request.flexible)
        cursor.tagged_fields()
        cursor.number("i")  # throttle time
        if self.request.api in {"EndTxn", "InitProducerId", "AddOffsetsToTxn"}:
            return cursor.number("h")
        if self.request.api == "TxnOffsetCommit":
            return next((code for code in _partition_errors(cursor) if code), 0)
        raise FrameError(f"the error code of an answer to {self.request.api} is not read here")


def _partition_errors(cursor: Cursor) -> Iterator[int]:
    for _ in cursor.array():
        cursor.string()
        for _ in cursor.array():
            cursor.number("i")
            yield cursor.number("h")
            cursor.tagged_fields()
        cursor.tagged_fields()


def correlation_of(answer: bytes) -> int:
    """Give the correlation id of a response frame, length prefix included."""
    return Cursor(answer, 4).number("i")
