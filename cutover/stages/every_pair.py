"""A stage of a run with several pairs: it is done when it is done for each, and each has its own acts.

With one pair it is that pair's stage and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price, together
from cutover.stages.acts import Acts
from cutover.world import World


@dataclass(frozen=True, slots=True)
class EveryPair:
    """The same stage for every pair."""

    stage: Acts

    def check(self, world: World) -> None:
        """Refuse while any pair may not enter it."""
        for each in world.pairs:
            self.stage.check(each)

    def done(self, world: World) -> Seen:
        """Whether it is done for all."""
        return seen_together(self.stage.done(each) for each in world.pairs)

    def apply(self, world: World) -> Body:
        """The next act for each pair that has one to do."""
        if len(world.pairs) == 1:
            return self.stage.apply(world)
        return {each.source.name: self.stage.apply(each) for each in world.pairs if _is_due(self.stage.done(each))}

    def undone(self, world: World) -> Seen:
        """Whether nothing of it is left for any."""
        return seen_together(self.stage.undone(each) for each in world.pairs)

    def undo(self, world: World) -> Body:
        """The next act of undoing for each pair that has one to do."""
        if len(world.pairs) == 1:
            return self.stage.undo(world)
        return {each.source.name: self.stage.undo(each) for each in world.pairs if _is_due(self.stage.undone(each))}

    def price(self, world: World) -> Price:
        """The prices of all."""
        return together(self.stage.price(each) for each in world.pairs)


def seen_together(seen: Iterable[Seen]) -> Seen:
    """What was seen of each pair, as one: it waits when every pair that is left does."""
    left = [each for each in seen if not each.done]
    if not left:
        return Seen(done=True)
    if any(_is_due(each) for each in left):
        return Seen(done=False)
    words = dict.fromkeys(each.waits_for for each in left)
    return Seen(done=False, waits_for="; ".join(words), on_person=all(each.on_person for each in left))


def _is_due(seen: Seen) -> bool:
    return not seen.done and not seen.waits_for
