"""What stands in for the mirror in an epoch in which nothing is copied: it is always where it was asked to drain to."""

from collections.abc import Mapping


class Still:
    """Implements cutover.world.Mirror without a process."""

    def __init__(self) -> None:
        self._walls: dict[int, int] = {}

    def drain_to(self, offsets: Mapping[int, int] | None) -> None:
        """Put walls, or take them away."""
        self._walls = dict(offsets or {})

    def wait_drained(self, seconds: float) -> Mapping[int, int]:  # noqa: ARG002 - there is nothing to wait for
        """The walls: whatever lies below them needs no copying."""
        return dict(self._walls)
