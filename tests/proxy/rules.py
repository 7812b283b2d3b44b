"""What the proxy is told to do to which frame, and what it has seen; shared between the tests' thread and the proxy's loop."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from tests.proxy.frames import Answer, Request

Mode = Literal["close", "reset", "stall"]
Moment = Literal["before_forward", "before_answer"]
Predicate = Callable[[Request], bool]
Action = Callable[[Request], object]

PATIENCE_SECONDS = 180.0
ANY_API = "*"


def any_frame(_: Request) -> bool:
    """The predicate that leaves it to API and number."""
    return True


class ProduceOfTransaction:
    """The predicate for the nth Produce frame of one transaction that begins with its positions; for rules of any API."""

    def __init__(self, nth: int, when: Predicate = any_frame) -> None:
        self._nth, self._when = nth, when
        self._sent: Counter[str | None] = Counter()

    def __call__(self, request: Request) -> bool:
        """Count within the transaction of this transactional id."""
        if request.transactional is None or not self._when(request):
            return False
        name = request.transactional.transactional_id
        if request.api == "TxnOffsetCommit":
            self._sent[name] = 0
        self._sent[name] += request.api == "Produce"
        return request.api == "Produce" and self._sent[name] == self._nth


@dataclass(eq=False)
class Rule:
    """Applies once: to the nth frame of an API, since the rule was made, for which `when` holds."""

    api: str
    nth: int = 1
    when: Predicate = any_frame
    moment: Moment = "before_forward"
    action: Action | None = None
    forward: bool = True  # False: the frame (or, before_answer, its answer) goes no further
    met: int = field(default=0, init=False)
    fired: "Future[Request]" = field(default_factory=Future, init=False)

    def meets(self, request: Request) -> bool:
        """Count a frame; true for the one that the rule is for."""
        if self.fired.done() or self.api not in (ANY_API, request.api) or not self.when(request):
            return False
        self.met += 1
        return self.met == self.nth

    def wait(self, timeout_seconds: float = PATIENCE_SECONDS) -> Request:
        """Wait until the rule was applied and its action is done; gives the frame, raises what the action raised."""
        try:
            return self.fired.result(timeout_seconds)
        except TimeoutError as late:
            raise TimeoutError(f"no frame number {self.nth} of {self.api} within {timeout_seconds} s, {self.met} were met") from late


@dataclass(eq=False)
class Held(Rule):
    """A rule that keeps its frame back until it is released; what the client sees meanwhile is the mode."""

    mode: Mode = "close"
    let_go: Callable[[], object] = field(default=lambda: None, init=False)
    answered: "Future[Answer]" = field(default_factory=Future, init=False)

    def release(self, timeout_seconds: float = PATIENCE_SECONDS) -> Answer:
        """Deliver the very bytes on the broker connection they were meant for; gives the broker's late answer."""
        self.wait(timeout_seconds)
        self.let_go()
        return self.answered.result(timeout_seconds)


class RuleBook:
    """Rules in the order they were made, and counts of every request seen."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rules: list[Rule] = []
        self._seen: Counter[tuple[str, int]] = Counter()

    def add(self, rule: Rule) -> None:
        """Apply this rule from now on."""
        with self._changed:
            self._rules.append(rule)

    def match(self, request: Request) -> Rule | None:
        """Count the request and give the rule it is for, if any."""
        with self._changed:
            self._seen[request.api, request.api_version] += 1
            self._changed.notify_all()
            met = [rule for rule in self._rules if rule.meets(request)]
            for rule in met:
                self._rules.remove(rule)
            if len(met) > 1:
                raise RuntimeError(f"{len(met)} rules are for the same frame of {request.api}")
            return met[0] if met else None

    def versions(self, api: str) -> dict[int, int]:
        """How many requests of an API were seen, by version."""
        with self._changed:
            return {version: count for (name, version), count in sorted(self._seen.items()) if name == api}

    def wait_seen(self, api: str, count: int, timeout_seconds: float) -> None:
        """Wait until so many requests of an API were seen."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count(api) >= count, timeout_seconds):
                raise TimeoutError(f"fewer than {count} requests {api} within {timeout_seconds} s: {dict(self._seen)}")

    def _count(self, api: str) -> int:
        return sum(seen for (name, _), seen in self._seen.items() if name == api)
