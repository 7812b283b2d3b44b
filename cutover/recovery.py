"""Where a lane goes on after any end of its predecessor: the second implementation of engine/recovery.

Pure. Both pass the table of cases in tests/golden/recovery.json; a difference between the two is a defect in one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the follower's tail says of one pair of partitions."""

    CONTINUE = "continue"
    HOLE = "hole"
    DISORDER = "disorder"
    POSITIONS_LOST = "positions_lost"


@dataclass(frozen=True)
class Given:
    """What is known of one origin partition and one follower partition that its records may go to.

    All numbers are origin offsets. `expected` are those of the last committed transaction that belong to the follower
    partition; `seen` those at its tail in log order; `committed` is the next offset to copy.
    """

    start: int | None
    committed: int | None
    expected: Sequence[int]
    seen: Sequence[int]
    compacted: bool


@dataclass(frozen=True)
class Decision:
    """What the lane does: go on at `resume` leaving out all up to `skip_through`, or stop for `missing`."""

    verdict: Verdict
    resume: int | None = None
    skip_through: int | None = None
    missing: tuple[int, ...] = ()
    unproved: int = 0


def decide(given: Given) -> Decision:
    """Decide one pair; cases in order: tail out of order, nothing committed, a committed record missing, go on."""
    backwards = [after for before, after in zip(given.seen, given.seen[1:], strict=False) if after <= before]
    if backwards:
        return Decision(Verdict.DISORDER, missing=(backwards[0],))
    newest = max(given.seen, default=None)
    if given.committed is None:
        if newest is not None and given.start is None:
            return Decision(Verdict.POSITIONS_LOST)
        return Decision(Verdict.CONTINUE, given.start, newest)
    missing = tuple(sorted(set(given.expected) - set(given.seen)))
    if missing and not given.compacted:
        return Decision(Verdict.HOLE, missing=missing)
    already = newest if newest is not None and newest >= given.committed else None
    return Decision(Verdict.CONTINUE, given.committed, already, unproved=len(missing))
