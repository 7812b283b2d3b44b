"""The events of an audit process, typed; the twin of engine/audit/events.go, compared with it by a test."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict

from cutover.engine.events import COMMON, Event, Models, Offsets, Wire

UNDERSCORED = ConfigDict(alias_generator=lambda name: name.rstrip("_"), populate_by_name=True)
"""For a field whose name on the wire is a word of Python."""

Outcome = Literal["proved", "unproved", "violated"]


def nothing(value: object) -> object:
    """What Go writes for an empty list, as a tuple."""
    return () if value is None else tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(nothing)]


class AuditProgress(Event):
    """How far the reading is; once a second. `eta_seconds` is -1 when it is not known."""

    event: Literal["audit_progress"]
    at_ms: int
    window: int
    phase: str
    origin_records: int
    follower_records: int
    offsets_done: int
    offsets_total: int
    records_per_second: float
    eta_seconds: float
    standing: Outcome


class Bounds(Wire):
    """What was judged: the origin from `origin_from`, the follower likewise; ends are exclusive."""

    from_: Offsets
    until: Offsets
    follower_from: Offsets
    follower_until: Offsets

    model_config = UNDERSCORED


class Pair(Wire):
    """One origin partition and one follower partition; -1 as a last offset means that there is none."""

    origin: int
    follower: int
    origin_records: int
    follower_records: int
    origin_last: int
    follower_last: int
    equal: bool
    why: str = ""


class Gap(Wire):
    """What could not be judged; `records` are those of the other side that have nothing to be compared with."""

    side: Literal["origin", "follower"]
    topic: str
    partition: int
    from_: int
    until: int
    records: int
    why: str

    model_config = UNDERSCORED


class Coverage(Wire):
    """Counts of origin records; `later` are follower records past the range."""

    expected: int
    proved: int
    unproved: int
    later: int
    gaps: Annotated[tuple[Gap, ...], BeforeValidator(nothing)] = ()


class Shown(Wire):
    """A key or value: size (-1: none) and a fingerprint that means something only within one audit; bytes only if asked for."""

    bytes: int
    fingerprint: str = ""
    data: str | None = None


class Place(Wire):
    """Where a record stands; `timestamp_ms` is -1 where only the coordinates are known."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int = -1
    key: Shown | None = None
    value: Shown | None = None


class Sample(Wire):
    """One violation and its place on both sides, as far as there is one."""

    kind: str
    origin: Place | None = None
    follower: Place | None = None
    expected_partition: int | None = None
    fields: Names = ()
    why: str


class Verdict(Event):
    """What one window showed. `standing` is the worst of all windows of the process: a violation sticks."""

    event: Literal["verdict"]
    at_ms: int
    window: int
    result: Outcome
    standing: Outcome
    bounds: Bounds
    pairs: Annotated[tuple[Pair, ...], BeforeValidator(nothing)]
    pairs_total: int
    pairs_equal: int
    coverage: Coverage
    violations: Mapping[str, int]
    violations_exact: bool
    accepted: Mapping[str, int]
    stragglers: int = 0
    samples: Annotated[tuple[Sample, ...], BeforeValidator(nothing)]
    digest_fields: Names
    digest_note: str = ""
    records_read: int
    seconds: float
    records_per_second: float
    judged_per_second: float


class Straggler(Wire):
    """A record on the follower that no lane of the run wrote; `producer_id` is -1 where its producer is not idempotent."""

    partition: int
    offset: int
    timestamp_ms: int
    producer_id: int
    provenance: bool = False


class Stragglers(Event):
    """Those of one window, before its verdict; a window may have several of these. `complete`: all of the window are named."""

    event: Literal["stragglers"]
    at_ms: int
    window: int
    topic: str
    records: Annotated[tuple[Straggler, ...], BeforeValidator(nothing)]
    count: int
    total: int
    complete: bool


class VerifiedCut(Event):
    """Below `origin` and below `follower` the records are the same; exact when nothing below `follower` belongs past `origin`."""

    event: Literal["verified_cut"]
    at_ms: int
    window: int
    origin: Offsets
    follower: Offsets
    exact: bool


AUDIT: Models = (*COMMON, AuditProgress, Stragglers, Verdict, VerifiedCut)
