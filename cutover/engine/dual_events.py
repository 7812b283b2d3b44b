"""The events of an audit of dual writing, typed; the twin of engine/dualaudit/events.go, compared with it by a test."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator

from cutover.engine.audit_events import UNDERSCORED, Names, Outcome, Place, VerifiedCut, nothing
from cutover.engine.events import COMMON, Event, Models, Offsets, Wire


class DualProgress(Event):
    """How far the reading is; once a second. `doubtful` records have no counterpart so far, `spilled` of them wait on disk."""

    event: Literal["dual_progress"]
    at_ms: int
    window: int
    phase: str
    source_records: int
    target_records: int
    offsets_done: int
    offsets_total: int
    records_per_second: float
    eta_seconds: float
    doubtful: int
    spilled: int
    standing: Outcome


class DualBounds(Wire):
    """What was judged of each topic; ends are exclusive."""

    source_from: Offsets
    source_until: Offsets
    target_from: Offsets
    target_until: Offsets


class DualGap(Wire):
    """What could not be judged; `partition` is -1 where it is a whole topic."""

    side: Literal["source", "target"]
    topic: str
    partition: int
    from_: int
    until: int
    records: int
    why: str

    model_config = UNDERSCORED


class DualCoverage(Wire):
    """Counts of records, `matched` of pairs.

    `doubtful_start` records stand before the first pair of their key, where the ranges begin at no cut: they are not of the range.
    `doubtful` ones have no counterpart yet, and it may still come or lie past the range.
    """

    source_records: int
    target_records: int
    matched: int
    doubtful_start: int
    doubtful: int
    gaps: Annotated[tuple[DualGap, ...], BeforeValidator(nothing)] = ()


class DualSample(Wire):
    """One violation and its place on both sides, as far as there is one; `producer_id` is -1 where its producer is not idempotent."""

    kind: str
    source: Place | None = None
    target: Place | None = None
    expected_partition: int | None = None
    fields: Names = ()
    stamp: str = ""
    producer_id: int
    why: str


class DualVerdict(Event):
    """What everything read so far showed; a violation sticks."""

    event: Literal["dual_verdict"]
    at_ms: int
    window: int
    result: Outcome
    standing: Outcome
    bounds: DualBounds
    coverage: DualCoverage
    violations: Mapping[str, int]
    violations_exact: bool
    accepted: Mapping[str, int]
    samples: Annotated[tuple[DualSample, ...], BeforeValidator(nothing)]
    spilled: int
    records_read: int
    seconds: float
    records_per_second: float


DUAL_AUDIT: Models = (*COMMON, DualProgress, DualVerdict, VerifiedCut)
