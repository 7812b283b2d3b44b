"""What every stage can do: the parts that a stage's file has."""

from typing import Protocol

from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.world import World


class Acts(Protocol):
    """What every stage can do. `apply` and `undo` are one bounded act each, called until `done` or `undone` is seen."""

    def check(self, world: World) -> None:
        """Raise Refused where the stage must not be entered; changes nothing."""

    def done(self, world: World) -> Seen:
        """Ask the live cluster, not the journal."""

    def apply(self, world: World) -> Body:
        """The next act; returns its evidence."""

    def undone(self, world: World) -> Seen:
        """Whether nothing of the stage is left."""

    def undo(self, world: World) -> Body:
        """The next act of undoing."""

    def price(self, world: World) -> Price:
        """What undoing costs from here, computed now."""
