"""What undoing costs from here: computed, not prose. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Price:
    """`again` counts the records that each group reads once more; None where it is not known beforehand. Lost is never guessed."""

    words: tuple[str, ...] = ()
    again: Mapping[str, int | None] = field(default_factory=dict)
    growing: frozenset[str] = frozenset()
    """Groups that are live, so that their number can still change before the step."""
    hold_seconds: float = 0.0
    lost: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The price as an operator reads it before saying yes."""
        said = [f"  {each}" for each in self.words]
        for group, count in sorted(self.again.items()):
            told = "a number not known before it has stopped" if count is None else f"{count:,} records"
            said.append(f"  {group} reads {told} again" + (" (it is live: as of now)" if group in self.growing else ""))
        if self.hold_seconds:
            said.append(f"  producers wait once, about {self.hold_seconds:.1f} s, at most the budget of the hold")
        said.append(f"  lost: {'; '.join(self.lost) or 'nothing'}")
        return said

    def document(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "words": list(self.words),
            "read_again": dict(self.again),
            "growing": sorted(self.growing),
            "hold_seconds": self.hold_seconds,
            "lost": list(self.lost),
        }


def together(prices: Iterable[Price]) -> Price:
    """The price of several steps."""
    every = list(prices)
    return Price(
        words=tuple(words for each in every for words in each.words),
        again={group: count for each in every for group, count in each.again.items()},
        growing=frozenset(group for each in every for group in each.growing),
        hold_seconds=sum(each.hold_seconds for each in every),
        lost=tuple(words for each in every for words in each.lost),
    )
