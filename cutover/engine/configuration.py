"""What a mirror worker is told; the twin of engine/wire/config.go, compared with it by a test.

Rates and starting points are read here from the words an operator writes.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
RATE = re.compile(r"(?P<number>\d+(?:\.\d+)?|\d{1,3}(?:[_,]\d{3})+)\s*(?P<scale>[kmg]i?)?(?P<bytes>b)?(?:/s)?", re.IGNORECASE)


class Told(BaseModel):
    """Part of a configuration: strict and frozen, and nothing but what is known."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Topic(Told):
    """A topic as it was when the run was decided; another id means another topic."""

    name: str
    id: str
    partitions: int
    max_message_bytes: int
    compacted: bool = False


class Rate(Told):
    """A limit; zero means none."""

    records_per_second: float = 0
    bytes_per_second: float = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10000/s`, `10k/s` (records) or `5MB/s`, `512KiB/s` (bytes), or `none`; ValueError for anything else, and for zero."""
        if text.strip().lower() in {"none", "unlimited"}:
            return cls()
        found = RATE.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not a rate such as 10000/s, 10k/s, 5MB/s or none")
        amount = float(re.sub("[_,]", "", found["number"])) * SCALE[(found["scale"] or "").lower()]
        if amount == 0:
            raise ValueError(f"{text!r} would stop the copy: say none for no limit, stop the mirror to pause it")
        return cls(bytes_per_second=amount) if found["bytes"] else cls(records_per_second=amount)

    def shared_by(self, workers: int) -> Self:
        """The part of each of the workers."""
        return type(self)(records_per_second=self.records_per_second / workers, bytes_per_second=self.bytes_per_second / workers)

    def __str__(self) -> str:
        """The limit as an operator writes it."""
        if self.bytes_per_second:
            return f"{self.bytes_per_second:,.0f} B/s"
        return f"{self.records_per_second:,.0f} records/s" if self.records_per_second else "no limit"


class Start(Told):
    """Where a mirror without committed positions begins."""

    kind: Literal["earliest", "latest", "time", "offsets"] = "earliest"
    time_ms: int = 0
    offsets: Mapping[int, int] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read earliest, latest, milliseconds since 1970 or an ISO 8601 time (UTC where it names no zone); ValueError otherwise."""
        if text in {"earliest", "latest"}:
            return cls(kind="earliest" if text == "earliest" else "latest")
        if text.isdigit():
            return cls(kind="time", time_ms=int(text))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is none of earliest, latest, an ISO 8601 time, milliseconds since 1970") from error
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return cls(kind="time", time_ms=round(aware.timestamp() * 1000))

    def __str__(self) -> str:
        """The starting point as an operator writes it."""
        if self.kind != "time":
            return self.kind
        return datetime.fromtimestamp(self.time_ms / 1000, UTC).isoformat(timespec="milliseconds")


class MirrorConfiguration(Told):
    """A worker that copies origin to follower. Version and socket are added when the process is started."""

    worker: str = ""
    grace_seconds: float = 30
    connection: Mapping[str, Any]
    run: str
    run_id: str
    epoch: int = 0
    group: str
    origin: Topic
    follower: Topic
    partitioner: str
    null_keys: str
    start: Start
    lanes: int
    transaction_timeout_ms: int = 10_000
    min_interval_ms: int = 10
    rate: Rate = Rate()
    control_topic: str = ""
    pair: str = ""
    walls: Mapping[int, int] = {}
    follower_start: Mapping[int, int] = {}
