"""The values of the journal: runs, entries, leases, requests. Frozen; times are those of the database's clock.

What is stored where belongs to schema.py, what a chain is to chain.py.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

Body = Mapping[str, Any]

KINDS: Final = frozenset({"intent", "outcome", "evidence", "state", "decision", "note", "ended"})
"""What a driver writes. `ended` closes the run's journal."""

BEGUN: Final = "begun"
"""The kind of entry 0, which `Journal.begin` writes."""


def moment(at_ms: int) -> datetime:
    """Milliseconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run: its name, the pair it moves, its resolved plan and the version of the steps that carry it out.

    The journal fills the rest when it is asked: the last entry's number and hash, and when the run began and ended.
    """

    run: str
    pair: str
    plan_digest: str
    plan: dict[str, Any]
    steps_version: int
    head_seq: int = field(default=-1, compare=False)
    head_hash: str = field(default="", compare=False)
    begun_at_ms: int = field(default=0, compare=False)
    ended_at_ms: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a run's journal; `hash` is over everything else in it."""

    run: str
    seq: int
    at_ms: int
    kind: str
    stage: str
    step: str
    body: dict[str, Any]
    plan_digest: str
    steps_version: int
    lease_epoch: int
    holder: str
    previous: str
    hash: str

    @property
    def at(self) -> datetime:
        """When it was written, in UTC."""
        return moment(self.at_ms)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive, as it was last taken or renewed; `seen_*` are both clocks at one moment, to find a step of either."""

    resource: str
    holder: str
    epoch: int
    ttl_seconds: float
    seen_ms: int
    seen_monotonic: float
    asked_monotonic: float

    def seconds_left(self) -> float:
        """How long it is ours for certain: counted, by this machine's monotonic clock, from before it was asked for."""
        return self.asked_monotonic + self.ttl_seconds - time.monotonic()


@dataclass(frozen=True, slots=True)
class Holding:
    """Who holds a resource now, and until when by the database's clock."""

    resource: str
    holder: str
    epoch: int
    until_ms: int

    @property
    def until(self) -> datetime:
        """When it ends unless it is renewed, in UTC."""
        return moment(self.until_ms)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks of the driver; `outcome` is None while it is open."""

    id: int
    run: str
    verb: str
    body: dict[str, Any]
    by: str
    asked_at_ms: int
    answered_at_ms: int | None = None
    outcome: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """How a run stood when its driver last looked."""

    run: str
    at_ms: int
    age_seconds: float
    body: dict[str, Any]
