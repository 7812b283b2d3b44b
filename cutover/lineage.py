"""How the partitions of two topics relate when both place keys by one hash: pure arithmetic on partition counts.

Holds for every formula hash(key) % count whose hash does not depend on count. What the mirror really wrote is for the audit to say.
"""

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["nested", "merge", "crossed"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The partitions of an origin topic and of the follower made from it; both counts are at least 1."""

    origin_count: int
    follower_count: int
    related: bool = True
    """Whether one hash places keys on both; if not, any key may go anywhere."""

    def __post_init__(self) -> None:
        """Refuses counts that no topic has (ValueError)."""
        if self.origin_count < 1 or self.follower_count < 1:
            raise ValueError(f"a topic has at least one partition, got {self.origin_count} and {self.follower_count}")

    @property
    def kind(self) -> Kind:
        """`nested`: each follower partition has one parent; `merge`: each origin partition has one child; else `crossed`."""
        if not self.related:
            return "crossed"
        if self.follower_count % self.origin_count == 0:
            return "nested"
        if self.origin_count % self.follower_count == 0:
            return "merge"
        return "crossed"

    @property
    def reversed(self) -> "Lineage":
        """The lineage after a flip: origin and follower trade places."""
        return Lineage(self.follower_count, self.origin_count, self.related)

    def parents(self, follower_partition: int) -> range:
        """The origin partitions whose keys may land in this follower partition, ascending. ValueError if there is no such partition."""
        _require_partition(follower_partition, self.follower_count)
        return _congruent(follower_partition, self._step, self.origin_count)

    def children(self, origin_partition: int) -> range:
        """The follower partitions where keys of this origin partition may land, ascending. ValueError if there is no such partition."""
        _require_partition(origin_partition, self.origin_count)
        return _congruent(origin_partition, self._step, self.follower_count)

    @property
    def _step(self) -> int:
        # hash % N and hash % M share exactly the remainder by gcd(N, M); by the Chinese remainder theorem every such pair occurs.
        return math.gcd(self.origin_count, self.follower_count) if self.related else 1


def share_moved(count_before: int, count_after: int) -> float:
    """The expected share of keys (0 to 1) whose partition number changes when one topic is altered from one count to another."""
    # Of lcm(N, M) equally likely remainders exactly the min(N, M) smallest keep their number.
    return 1 - min(count_before, count_after) / math.lcm(count_before, count_after)


def _congruent(partition: int, step: int, count: int) -> range:
    return range(partition % step, count, step)


def _require_partition(partition: int, count: int) -> None:
    if not 0 <= partition < count:
        raise ValueError(f"partition {partition} is not one of 0 to {count - 1}")
