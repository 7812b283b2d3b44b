"""The driver's hand on a cluster: positions and control records under one transactional id, fences, translations.

Implements the ports Positions and ControlLog over one engine process of the role `control`. Whoever opens a second one with
the same transactional id deposes the first, which then raises ProducerFenced for ever.
"""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator

from cutover.connection import Connection
from cutover.engine.configuration import Told, Topic
from cutover.engine.events import CONTROL, Offsets, Ready, Wire
from cutover.engine.process import EngineProcess
from cutover.errors import EngineDied, EngineHung, WriteUnknown
from cutover.model import Committed, ControlRecord, Record, TopicPartition
from cutover.ports import Topics

Direction = Literal["origin_to_follower", "follower_to_origin"]
"""Within one epoch."""
Across = Literal["source_to_target", "target_to_source"]
"""Across epochs, by the topics of the pair: the source is the origin of even epochs, unless they say it."""
READY_SECONDS = 40.0
WRITE_SECONDS = 40.0
TRANSLATE_SECONDS = 300.0


def _tuple(value: object) -> object:
    return () if value is None else tuple(value) if isinstance(value, list) else value


Partitions = Annotated[tuple[int, ...], BeforeValidator(_tuple)]


class Epoch(Told):
    """One span of time with one primary, its origin. Absent vectors are taken from the mirror's positions.

    An ended epoch has ends on both topics, its cut, where the next one starts; the present one has none.
    """

    run_id: str
    epoch: int = 0
    group: str
    origin: Topic
    follower: Topic
    producer_ids: tuple[int, ...] = ()
    start: Mapping[int, int] | None = None
    follower_start: Mapping[int, int] | None = None
    end: Mapping[int, int] | None = None
    follower_end: Mapping[int, int] | None = None
    parents: Mapping[int, tuple[int, ...]] | None = None
    from_source: bool | None = None
    """Whether its origin is the source; None: in even epochs."""


class Behind(Wire):
    """How far the mirror has to come on an origin partition; `mirror` is -1 where it has committed nothing."""

    position: int
    mirror: int


class Part(Wire):
    """What one epoch made of its part of a vector, and what that rests on. `forward`: from its origin to its follower."""

    epoch: int
    forward: bool
    given: Offsets
    positions: Offsets
    mirror: Offsets
    start: Offsets
    begins: Offsets
    ends: Offsets
    producer_ids: Partitions = ()


def _parts(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Translation(Wire):
    """The equivalent vector, whether it is final, and what it costs; vectors are by partition.

    `duplicates` is None where it was not counted. `unproved` names follower partitions whose log start has moved past what
    would show that nothing unread is gone. `ends` and `mirror` are what the answer rests on, of the present epoch; `epochs` has
    that of each.
    """

    positions: Offsets
    given: Offsets
    final: bool
    behind: Mapping[int, Behind]
    duplicates: Mapping[int, int] | None = None
    lost: Offsets
    unproved: Partitions
    strange: Mapping[int, Partitions]
    mirror: Offsets
    start: Offsets
    begins: Offsets
    ends: Offsets
    producer_ids: Partitions = ()
    epochs: Annotated[tuple[Part, ...], BeforeValidator(_parts)] = ()
    rounds: int
    requests: int
    records: int
    bytes: int
    milliseconds: float

    @property
    def duplicates_total(self) -> int | None:
        """Records that will be read again; None where it was not counted."""
        return None if self.duplicates is None else sum(self.duplicates.values())


@dataclass(frozen=True, slots=True)
class PositionsWritten:
    """What a commit came to, read back. A member's commit made after ours wins: those partitions are `superseded`."""

    positions: Mapping[TopicPartition, Committed]
    superseded: frozenset[TopicPartition]
    commit_ms: float
    visible_ms: float


class Fenced(Wire):
    """The producer id and epoch that are in force for a transactional id since it was fenced."""

    producer_id: int
    producer_epoch: int
    milliseconds: float


class Control:
    """One control process. Without a transactional id it translates and fences, and writes nothing of its own."""

    def __init__(
        self,
        connection: Connection,
        topics: Topics,
        *,
        transactional_id: str = "",
        transaction_timeout_ms: int = 2000,
        topic_ids: Mapping[str, str] | None = None,
        engine: Path | None = None,
    ) -> None:
        """Start the process and wait until it holds its id; `topic_ids` pins topics, others are looked up when written."""
        self._topics = topics
        self._topic_ids = dict(topic_ids or {})
        config = {
            "connection": connection.engine(),
            "transactional_id": transactional_id,
            "transaction_timeout_ms": transaction_timeout_ms,
        }
        self._process = EngineProcess.start("control", config, models=CONTROL, engine=engine, quiet_seconds=None)
        try:
            self.ready = self._process.wait_for(Ready, READY_SECONDS)
        except BaseException:
            self._process.kill()
            raise

    @property
    def process(self) -> EngineProcess:
        """The process behind it."""
        return self._process

    def commit_positions(self, group: str, positions: Mapping[TopicPartition, Committed], *, timeout_seconds: float | None = None) -> None:
        """Commit all positions or none; visible when this returns. Raises ProducerFenced, WriteUnknown."""
        self.write_positions(group, positions, timeout_seconds=timeout_seconds)

    def write_positions(
        self, group: str, positions: Mapping[TopicPartition, Committed], *, timeout_seconds: float | None = None
    ) -> PositionsWritten:
        """Commit all positions (of one topic) or none, and tell what the group has now."""
        result = self._write("commit_positions", timeout_seconds, **self._positions(group, positions))
        return _written(result, next(iter(positions)).topic)

    def prepare_positions(
        self, group: str, positions: Mapping[TopicPartition, Committed], *, timeout_seconds: float | None = None
    ) -> float:
        """Write positions and leave them pending; again to renew them. Returns the seconds until the transaction expires."""
        result = self._write("prepare_positions", timeout_seconds, **self._positions(group, positions))
        return float(result["expires_in_ms"]) / 1000

    def finish_positions(
        self, topic: str, *, commit: bool, read_back: bool = True, timeout_seconds: float | None = None
    ) -> PositionsWritten | None:
        """Commit what is pending (and tell what the group has then), or abort it (None).

        Without `read_back` nothing is told: for positions that another transaction keeps pending meanwhile.
        """
        result = self._write("finish_positions", timeout_seconds, commit=commit, blind=not read_back)
        return _written(result, topic) if commit and read_back else None

    def write_control(self, topic: str, records: Sequence[ControlRecord], *, timeout_seconds: float | None = None) -> tuple[int, ...]:
        """Append all records to the topic's one partition or none; returns their offsets, readable by then."""
        asked = [_record(each) for each in records]
        result = self._write("write_control", timeout_seconds, topic=topic, topic_id=self._topic_id(topic), records=asked)
        return tuple(result["offsets"])

    def append_records(self, to: TopicPartition, records: Sequence[Record], *, timeout_seconds: float | None = None) -> tuple[int, ...]:
        """Append what these records hold (key, value, headers, time), all or none; returns their offsets, readable by then.

        Where they stood is not looked at. Raises ProducerFenced, WriteUnknown, EngineRefusedInput, RejectedByBroker.
        """
        asked = [{**_record(each), "timestamp_ms": each.timestamp_ms} for each in records]
        where = {"topic": to.topic, "topic_id": self._topic_id(to.topic), "partition": to.partition}
        result = self._write("append_records", timeout_seconds, **where, records=asked)
        return tuple(result["offsets"])

    def fence(self, transactional_ids: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, Fenced]:
        """End the open transactions of these ids and shut their holders out, all at once."""
        result = self._process.request("fence", seconds=timeout_seconds or WRITE_SECONDS, transactional_ids=list(transactional_ids))
        return {name: Fenced.model_validate(each) for name, each in result["fenced"].items()}

    def translate(
        self,
        epochs: Sequence[Epoch],
        direction: Direction | Across,
        positions: Mapping[int, int],
        *,
        missing: Literal["", "earliest", "latest"] = "",
        acknowledge_lost: bool = False,
        count_duplicates: bool = True,
        timeout_seconds: float = TRANSLATE_SECONDS,
    ) -> Translation:
        """The equivalent of a vector on the other side (DESIGN 6.1); epochs follow each other, the present one last.

        Raises NotMovable, PositionUnusable, PositionsExpired.
        """
        result = self._process.request(
            "translate",
            seconds=timeout_seconds,
            epochs=[each.model_dump(mode="json", exclude_none=True) for each in epochs],
            direction=direction,
            positions=positions,
            missing=missing,
            acknowledge_lost=acknowledge_lost,
            duplicates="count" if count_duplicates else "skip",
        )
        return Translation.model_validate(_by_number(result))

    def close(self) -> None:
        """End the process; what was asked for before is carried out first."""
        self._process.stop("its driver is done")

    def __enter__(self) -> Self:
        """Use it in a with block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process."""
        self.close()

    def _positions(self, group: str, positions: Mapping[TopicPartition, Committed]) -> dict[str, Any]:
        topics = {where.topic for where in positions}
        if len(topics) != 1:
            raise ValueError(f"positions are written for one topic at a time, got {sorted(topics)}")
        topic = topics.pop()
        return {
            "group": group,
            "topic": topic,
            "topic_id": self._topic_id(topic),
            "positions": {where.partition: each.offset for where, each in positions.items()},
            "metadata_by_partition": {where.partition: each.metadata for where, each in positions.items()},
        }

    def _topic_id(self, topic: str) -> str:
        return self._topic_ids.get(topic) or self._topics.describe_topics([topic])[topic].topic_id

    def _write(self, command: str, timeout_seconds: float | None, **arguments: object) -> dict[str, Any]:
        """A command that writes: with no answer, its outcome is not known."""
        try:
            result: dict[str, Any] = self._process.request(command, seconds=timeout_seconds or WRITE_SECONDS, **arguments)
        except (EngineHung, EngineDied) as error:
            raise WriteUnknown(f"{command} was asked for and not answered", why=error.what, command=command) from error
        return result


def _record(record: ControlRecord | Record) -> dict[str, Any]:
    headers = [{"key": name, "value": _base64(value)} for name, value in record.headers]
    return {"key": _base64(record.key), "value": _base64(record.value), "headers": headers}


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _written(result: Mapping[str, Any], topic: str) -> PositionsWritten:
    read = {TopicPartition(topic, int(p)): Committed(each["offset"], each["metadata"]) for p, each in result["positions"].items()}
    superseded = frozenset(TopicPartition(topic, p) for p in result["superseded"] or ())
    return PositionsWritten(read, superseded, result["commit_ms"], result["visible_ms"])


def _by_number(value: Any) -> Any:  # noqa: ANN401
    """JSON has text for keys; partitions are numbers."""
    if isinstance(value, list):
        return [_by_number(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {int(key) if key.isdigit() else key: _by_number(each) for key, each in value.items()}
