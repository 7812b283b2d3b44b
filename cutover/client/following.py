"""Which topics a consumer reads for those that it named, by what the control log says of its group. Raises when that is not known."""

import time
from dataclasses import dataclass

from cutover.client.errors import InstanceReplaced
from cutover.client.routes import starting
from cutover.client.settings import Settings
from cutover.client.watch import View
from cutover.protocol import Asked, PairState, Side

Where = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A group's open STOP, and the topic that it concerns."""

    pair: PairState
    asked: Asked
    topic: str

    @property
    def key(self) -> tuple[str, int, int]:
        """What is to be acknowledged once: pair, term, and where the UNTIL stands."""
        return (self.pair.pair, self.asked.term, self.asked.until_at)


class Following:
    """The topics that the application named, and the ones to read for them."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._named: list[str] = []
        self._since: float | None = None

    def want(self, topics: list[str]) -> None:
        """These are subscribed to."""
        self._named = list(topics)
        self._since = None

    def resolved(self, view: View) -> list[str] | None:
        """The topics to read; None while that is not known. Raises what the caller gets once it has waited for long enough."""
        if not self._named:
            return None
        if view.trouble is not None:
            self._wait(0.0 if isinstance(view.trouble, InstanceReplaced) else self._settings.hold_seconds, view)
            return None
        if self.waits(view):
            self._wait(self._settings.start_seconds, view)
            return None
        self._since = None
        return list(dict.fromkeys(self._topic(view, each) for each in self._named))

    def waits(self, view: View) -> bool:
        """Whether the instance has not joined for all of its topics, or knows nothing."""
        return view.trouble is not None or any(each not in view.joined for each in self._named if not each.startswith("^"))

    def _topic(self, view: View, named: str) -> str:
        pair = None if named.startswith("^") else view.pair(named)
        return named if pair is None else pair.topic(pair.group(self._group).side).name

    def _wait(self, seconds: float, view: View) -> None:
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since < seconds:
            return
        self._since = None
        if view.trouble is not None:
            raise type(view.trouble)(view.trouble.what, why=view.trouble.why)
        late = starting(self._settings).shut
        assert late is not None
        raise late()

    def _pairs(self, view: View) -> list[PairState]:
        found = (view.pair(topic) for topic in view.joined)
        return list({each.pair: each for each in found if each is not None}.values())

    def stops(self, view: View) -> list[Stop]:
        """What the group is asked just now, pair by pair."""
        found = []
        for pair in self._pairs(view):
            group = pair.group(self._group)
            if group.stop is not None:
                found.append(Stop(pair, group.stop, pair.topic(group.side).name))
        return found

    def left(self, view: View) -> frozenset[str]:
        """The topics that the group does not read: what is still assigned of them until the next rebalance is not handed out."""
        return frozenset(pair.topic(pair.group(self._group).side.other).name for pair in self._pairs(view))

    def moved(self, view: View) -> frozenset[str]:
        """The topics that the group was moved to: it reads them from positions that were written for it, or not at all."""
        sides = ((pair, pair.group(self._group)) for pair in self._pairs(view))
        return frozenset(pair.topic(group.side).name for pair, group in sides if group.side is Side.TARGET or group.moves)
