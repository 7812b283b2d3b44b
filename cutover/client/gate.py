"""Where callers of a producer wait: one lock, one condition, and a route for each topic that the instance follows.

Whoever holds the lock stands between check and enqueue; a route that is shut while the lock is held is shut for everybody.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cutover.client.dual import Dual
from cutover.client.errors import ClientError


@dataclass(frozen=True, slots=True)
class Route:
    """Where records for a topic go; with `shut` they do not go now, and it makes the error for who waited too long."""

    topic: str
    followed: bool = False
    moved: bool = False
    """Whether the topic is not the one that the application named."""
    place: Callable[[str | bytes | None], int] | None = None
    """The partition of a key where the plain client would put it elsewhere; -1 where the key does not say."""
    shut: Callable[[], ClientError] | None = None
    seconds: float = 0.0
    """How long a caller waits while it is shut; 0 raises at once."""
    dual: Dual | None = None
    """The pair whose other topic is written too; `topic` is then the source."""
    direct: bool = field(init=False, compare=False)
    """Whether a record goes straight to the topic."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "direct", bool(self.topic) and self.shut is None and self.dual is None and self.place is None)


class Gate:
    """Lets callers pass, or has them wait. All of it is used with the lock held."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.routes = routes

    def turn(self, routes: Mapping[str, Route]) -> None:
        """Set all routes at once and wake who waits."""
        self.routes = routes
        self.changed.notify_all()

    def look(self, topic: str) -> Route:
        """The route of a topic as it is; one that nobody follows is open."""
        return self.routes.get(topic) or Route(topic)

    def passage(self, topic: str) -> Route:
        """The route of a topic once it is open; raises its error if that takes too long. Waiting lets go of the lock."""
        route = self.routes.get(topic)
        if route is None:
            return Route(topic)
        return route if route.shut is None else self.wait(lambda: self.routes[topic])

    def all_open(self) -> Mapping[str, Route]:
        """Every route once all are open."""
        self.wait(lambda: next((each for each in self.routes.values() if each.shut), _OPEN))
        return self.routes

    def wait(self, route: Callable[[], Route]) -> Route:
        """Wait until a route is open."""
        began = time.monotonic()
        while (found := route()).shut is not None:
            left = began + found.seconds - time.monotonic()
            if left <= 0:
                raise found.shut()
            self.changed.wait(left)
        return found


_OPEN = Route("")
