"""One thread per instance that follows the control log, joins it, and says EXPIRED when a budget passes without a word.

It folds what it reads into a View and tells its owner; what the owner does about it is in gate, producer and consumer.
"""

import atexit
import contextlib
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol

from confluent_kafka.admin import TopicDescription

from cutover.client.errors import ClientError, ControlUnavailable, InstanceReplaced
from cutover.client.log import LOG, ControlTopic, LookAgain, Unanswered, Unfollowable
from cutover.client.settings import Settings
from cutover.protocol import (
    NOTHING_ASKED,
    Ack,
    Asked,
    ControlState,
    Expired,
    Join,
    Leave,
    Offsets,
    PairState,
    Role,
    UnreadableRecordError,
    parse,
)

POLL_SECONDS = 0.1
REPEAT_SECONDS = 5.0
RETRY_SECONDS = 0.5
LOOK_SECONDS = 0.05
LEAVE_SECONDS = 5.0
LISTEN_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class View:
    """What an instance knows: the log's state, under which name it joined for each topic, and why it knows nothing."""

    state: ControlState = field(default_factory=ControlState)
    joined: Mapping[str, str] = field(default_factory=dict)
    trouble: ClientError | None = None

    def pair(self, topic: str) -> PairState | None:
        """The pair that governs a topic."""
        return self.state.follow(topic)

    def names(self, pair: str) -> tuple[str, ...]:
        """The names under which the instance answers for a pair."""
        return tuple(name for topic, name in self.joined.items() if (found := self.pair(topic)) is not None and found.pair == pair)


@dataclass(slots=True)
class Membership:
    """A topic that the instance follows, and how far joining for it has come."""

    join: Join
    appended_at: float = float("-inf")
    joined: bool = False


@dataclass(slots=True)
class Clock:
    """When an open HOLD, STOP or UNTIL is over for this instance."""

    deadline: float
    said_at: float = float("-inf")


Key = tuple[str, int, int]
"""Pair, term, and where the UNTIL stands."""


class Watch:
    """Follows the control log for one instance. `view` is what is known now; `heard` is called in its thread when that changes."""

    def __init__(self, settings: Settings, heard: Callable[[View], None], template: Join) -> None:
        self.view = View()
        self.topic = ControlTopic(settings)
        self._settings = settings
        self._heard = weakref.WeakMethod(heard)
        self._template = template
        self._memberships: dict[str, Membership] = {}
        self._wanted = threading.Lock()
        self._clocks: dict[Key, Clock] = {}
        self._identity: str | None = None
        self._asked_identity: Future[TopicDescription] | None = None
        self._asked_at = float("-inf")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cutover-watch", daemon=True)

    def start(self, *topics: str) -> None:
        """Begin to follow these topics."""
        self.follow(*topics)
        self._thread.start()

    def follow(self, *topics: str) -> None:
        """Join for these topics as well."""
        with self._wanted:
            for topic in topics:
                if topic not in self._memberships:
                    self._memberships[topic] = Membership(self._join(topic, alone=not self._memberships))

    def _join(self, topic: str, *, alone: bool) -> Join:
        name = self._settings.instance if alone else f"{self._settings.instance}/{topic}"
        return self._template.model_copy(update={"instance": name, "session": secrets.token_hex(8), "topic": topic})

    @property
    def started(self) -> bool:
        """Whether it was started."""
        return self._thread.ident is not None

    def hear_on(self, pair: str, seconds: float) -> View | None:
        """What is known once everything was read that stands in the log now; None if that takes longer.

        An ACK of no term is appended and waited for: it changes nothing.
        """
        deadline = time.monotonic() + seconds
        names = self.view.names(pair)
        offset = self.topic.append_and_hear(Ack(instance=names[0], pair=pair, term=NOTHING_ASKED), names[0], seconds) if names else None
        while offset is not None and not self._ended.is_set() and time.monotonic() < deadline:
            view = self.view
            if view.trouble is None and view.state.after > offset:
                return view
            time.sleep(LISTEN_SECONDS)
        return None

    def same_topic(self) -> Callable[[], bool]:
        """Ask now; the answer says whether the control topic is still the one that was joined."""
        asked = self.topic.ask_identity()

        def answer() -> bool:
            try:
                return self.topic.identity(asked) == self._identity
            except Unfollowable:
                return False

        return answer

    def leave(self, offsets: Callable[[str], Offsets] = lambda _: {}) -> None:
        """Say LEAVE for everything that was joined, with the last offsets per topic, and end."""
        if self._ended.is_set():
            return
        self._ended.set()
        for each in self._joined():
            leave = Leave(instance=each.join.instance, session=each.join.session, offsets=offsets(each.join.topic))
            self.topic.append(leave, each.join.instance)
        self.topic.flush(LEAVE_SECONDS)
        if self.started and threading.current_thread() is not self._thread:
            self._thread.join(LEAVE_SECONDS)

    def _joined(self) -> list[Membership]:
        with self._wanted:
            return [each for each in self._memberships.values() if each.joined]

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._attempt()
        finally:
            self.topic.close()

    def _attempt(self) -> None:
        try:
            self._open()
            self._follow_log()
        except LookAgain:
            self._asked_identity = None
            self._ended.wait(LOOK_SECONDS)
        except Unfollowable as trouble:
            self._say(ControlUnavailable("the control log cannot be followed", why=f"{trouble}."))
            self._ended.wait(RETRY_SECONDS)

    def _open(self) -> None:
        self._require_identity(self.topic.identity(self.topic.ask_identity()))
        self.topic.open(self.view.state.after)

    def _require_identity(self, identity: str) -> None:
        if self._identity is None:
            self._identity = identity
        elif identity != self._identity:
            raise Unfollowable("the control topic was deleted and made again: what stood in it is gone")
        self._asked_at = time.monotonic()

    def _follow_log(self) -> None:
        while not self._ended.is_set():
            records = self.topic.read(self._patience())
            for offset, value in records:
                self._fold(offset, value)
            self._join_due()
            self._expire_due()
            self._identity_due()
            self._tell(changed=bool(records))
            if self._heard() is None:
                self.leave()

    def _patience(self) -> float:
        """Until the next budget is over, at most a tenth of a second."""
        due = min((each.deadline for each in self._clocks.values()), default=float("inf")) - time.monotonic()
        return min(POLL_SECONDS, max(due, 0.002))

    def _fold(self, offset: int, value: bytes | None) -> None:
        try:
            record = parse(value)
        except UnreadableRecordError as error:
            raise Unfollowable(f"record {offset} of the control log is not one that this version can read ({error})") from error
        LOG.debug("control record %d: %s", offset, record)
        self.view = replace(self.view, state=self.view.state.then(offset, record))
        if isinstance(record, (Join, Leave)):
            self._recognize()

    def _recognize(self) -> None:
        """See where the own JOINs stand: read, taken out by a LEAVE of somebody else's, or replaced by another session."""
        with self._wanted:
            memberships = list(self._memberships.values())
        for each in memberships:
            known = self.view.state.instances.get(each.join.instance)
            if known is None:
                if each.joined and not self._ended.is_set():
                    self._join_again(each)
            elif known.joined.session == each.join.session:
                each.joined = True
            elif each.joined:
                self._replaced(each)
        self.view = replace(self.view, joined={each.join.topic: each.join.instance for each in memberships if each.joined})

    def _join_again(self, membership: Membership) -> None:
        """Somebody said that this instance is gone: nobody waits for it any more, until it has joined anew."""
        LOG.warning("%s was said to have left the control log, and joins again", membership.join.instance)
        membership.joined = False
        membership.join = membership.join.model_copy(update={"session": secrets.token_hex(8)})
        membership.appended_at = float("-inf")

    def _replaced(self, membership: Membership) -> None:
        self._ended.set()
        name = membership.join.instance
        self._say(InstanceReplaced(f"another process has joined as {name}", why="Two under one name cannot be told apart.", instance=name))

    def _join_due(self) -> None:
        """JOIN near the end, so that little stands between it and what is there when it is read."""
        if not self.topic.near_end or self._ended.is_set():
            return
        now = time.monotonic()
        with self._wanted:
            due = [each for each in self._memberships.values() if not each.joined and now - each.appended_at > REPEAT_SECONDS]
        for each in due:
            each.appended_at = now
            self.topic.append(each.join, each.join.instance)

    def asked(self, membership: Membership) -> tuple[PairState, Asked] | None:
        """What the log asks of a membership just now."""
        pair = self.view.pair(membership.join.topic)
        if pair is None:
            return None
        by_group = membership.join.role is Role.CONSUMER
        asked = pair.group(membership.join.group or "").stop if by_group else pair.hold
        return None if asked is None else (pair, asked)

    def _expire_due(self) -> None:
        now = time.monotonic()
        open_now: dict[Key, Clock] = {}
        for each in self._joined():
            found = self.asked(each)
            if found is not None:
                pair, asked = found
                key = (pair.pair, asked.term, asked.until_at)
                clock = open_now[key] = self._clocks.get(key) or Clock(now + asked.budget_ms / 1000)
                self._expire(clock, each.join.instance, Expired(instance=each.join.instance, pair=pair.pair, term=asked.term))
        self._clocks = open_now

    def _expire(self, clock: Clock, name: str, record: Expired) -> None:
        now = time.monotonic()
        if now < clock.deadline or now - clock.said_at < REPEAT_SECONDS:
            return
        clock.said_at, clock.deadline = now, now + REPEAT_SECONDS
        LOG.warning("the budget of term %d passed without a word", record.term)
        self.topic.append(record, name)

    def deadline(self, pair: str, asked: Asked) -> float:
        """When the budget of what was asked is over, in monotonic time."""
        known = self._clocks.get((pair, asked.term, asked.until_at))
        return known.deadline if known is not None else time.monotonic() + asked.budget_ms / 1000

    def _identity_due(self) -> None:
        """Ask for the topic's id now and then, without waiting for the answer."""
        if self._asked_identity is None:
            if time.monotonic() - self._asked_at > self._settings.identity_seconds:
                self._asked_at = time.monotonic()
                self._asked_identity = self.topic.ask_identity()
        elif self._asked_identity.done():
            asked, self._asked_identity = self._asked_identity, None
            with contextlib.suppress(Unanswered):  # no answer is not another topic, and an ACK needs an answer of its own
                self._require_identity(self.topic.identity(asked))

    def _tell(self, *, changed: bool) -> None:
        if self.view.trouble is not None and self.topic.caught_up:
            self.view, changed = replace(self.view, trouble=None), True
        if changed:
            self._notify()

    def _say(self, trouble: ClientError) -> None:
        if self.view.trouble is None or self.view.trouble.why != trouble.why:
            LOG.error("%s", trouble)
        self.view = replace(self.view, trouble=trouble)
        self._notify()

    def _notify(self) -> None:
        heard = self._heard()
        if heard is not None:
            heard(self.view)


class Closable(Protocol):
    """A client that says LEAVE when it is closed."""

    def close_at_exit(self) -> None:
        """Close, because the interpreter ends."""


_LIVING: "weakref.WeakSet[Closable]" = weakref.WeakSet()


def leave_at_exit(client: Closable) -> None:
    """Have a client close when the interpreter ends, if it is still there by then."""
    _LIVING.add(client)


@atexit.register
def _leave() -> None:
    for each in list(_LIVING):
        each.close_at_exit()
