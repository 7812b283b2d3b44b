"""The events that an engine process sends, typed; the twin of engine/wire/events.go.

A field that this side does not know is ignored (a newer worker may be adopted), an event that it does not know is not.
A test compares the names of events and fields with the Go source.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

MAX_LINE_BYTES = 4 << 20


class _NullIs:
    """Reads null as this value: Go writes an empty slice or map so. (A BeforeValidator would leave JSON's lax keys and tuples.)"""

    def __init__(self, empty: object) -> None:
        self.empty = empty

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        given = core_schema.nullable_schema(handler(source))
        return core_schema.no_info_after_validator_function(lambda value: self.empty if value is None else value, given)


Offsets = Annotated[Mapping[int, int], _NullIs({})]
"""Partition to offset."""

Facts = Annotated[Mapping[str, Any], _NullIs({})]


class Wire(BaseModel):
    """What every object on the wire has in common: strict, frozen, tolerant of fields that are new."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Event(Wire):
    """One line from an engine process."""

    event: str


class Fault(Wire):
    """An error with a name that both sides know."""

    name: str
    message: str
    fields: Facts = {}


class Ready(Event):
    """The process has reached its cluster; repeated to everybody who connects."""

    event: Literal["ready"]
    role: str
    worker: str
    pid: int
    version: str
    cluster_id: str
    transaction_version: int
    kip890_part2: bool


class LaneStatus(Wire):
    """One lane as its holder sees it; state is recovering, copying, idle, paused or drained."""

    lane: int
    partitions: Annotated[tuple[int, ...], _NullIs(())] = ()
    transactional_id: str = ""
    producer_id: int = -1
    producer_epoch: int = -1
    state: str


class Progress(Event):
    """What a mirror worker did and where it stands; once a second."""

    event: Literal["progress"]
    at_ms: int
    lanes: Annotated[tuple[LaneStatus, ...], _NullIs(())] = ()
    positions: Offsets = {}
    committed: Offsets = {}
    ends: Offsets = {}
    records: int = 0
    bytes: int = 0
    records_per_second: float = 0
    bytes_per_second: float = 0
    lag_records: int = 0
    lag_seconds: float = 0
    transactions: int = 0
    transaction_records_median: float = 0
    commit_ms_p50: float = 0
    commit_ms_p99: float = 0
    recoveries: int = 0
    foreign_provenance: int = 0
    resident_bytes: int = 0
    slowed_by: str = ""


class LaneChange(Event):
    """A lane was taken, recovered, released, fenced or retried, and why."""

    event: Literal["lane"]
    lane: int
    change: str
    reason: str = ""
    facts: Facts = {}


class Cut(Event):
    """All lanes of the worker stand at their walls with everything below committed."""

    event: Literal["cut"]
    positions: Offsets = {}


class Fatal(Event):
    """The process ends, and why."""

    event: Literal["fatal"]
    error: Fault


class Stopped(Event):
    """The last event of a process that ends as asked."""

    event: Literal["stopped"]
    reason: str
    positions: Offsets = {}


class Reply(Event):
    """The answer to the command with the same id."""

    event: Literal["reply"]
    id: int
    ok: bool
    result: Any = None
    error: Fault | None = None


Models = tuple[type[Event], ...]
"""The events that a role may send."""

COMMON: Models = (Ready, Fatal, Stopped, Reply)
MIRROR: Models = (*COMMON, Progress, LaneChange, Cut)
CONTROL: Models = COMMON


class NotAnEventError(ValueError):
    """A line is not an event of the role; the text says in what way."""


def parse(line: bytes | str, models: Models) -> Event:
    """The event on the line, as one of the models; NotAnEventError when it is none of them."""
    try:
        return _adapter(models).validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotAnEventError(f"{where}: {first['msg']}" if where else str(first["msg"])) from error


@cache
def _adapter(models: Models) -> TypeAdapter[Event]:
    one_of: Any = Annotated[Union[models], Field(discriminator="event")]  # noqa: UP007
    return TypeAdapter(one_of)
