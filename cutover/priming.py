"""Seed, prime and gate: a group's positions on the side it does not read yet are kept current, and given free at the right moment.

What to do is `decide_prime`, pure. A `Primer` looks, decides and acts once per `tick`; it has no thread and no clock of its own.
How positions are translated, and who writes them, it is given. DESIGN in words: docs/moving-groups.md.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from cutover.errors import CutoverError, ProducerFenced, TransactionExpired, Unreachable, WriteUnknown
from cutover.marks import Mark
from cutover.model import PENDING, Committed, GroupState, Member, TopicPartition
from cutover.ports import Cluster

REFRESH_SECONDS = 60.0
"""A prime is written anew after so long, also when nothing moved: a tenth of the shortest offsets.retention that anybody should set."""

NAMES = ("a", "b")
READ_BACK_TRIES = 200
READ_BACK_SECONDS = 0.01


class Standing(StrEnum):
    """How far a group's priming has come."""

    UNSEEDED = "unseeded"  # not every partition has a position: nobody may start there
    READY = "ready"  # every partition has a safe position of ours, read back; its owner may redeploy
    FINAL = "final"  # nobody is left where it was, and the positions of the last commits were read back
    RELEASED = "released"  # the gate was opened on final positions
    STARTED = "started"  # members came to the other side; without a gate nothing more is written
    EARLY = "early"  # members were on the other side before every partition had a position


SETTLED = frozenset({GroupState.STABLE, GroupState.EMPTY, GroupState.DEAD})
ENDED = frozenset({Standing.RELEASED, Standing.STARTED, Standing.EARLY})


class Action(StrEnum):
    """What is due."""

    WAIT = "wait"
    SEED = "seed"
    PRIME = "prime"
    CONCLUDE = "conclude"
    RELEASE = "release"
    END = "end"


@dataclass(frozen=True, slots=True)
class Observation:
    """What `decide_prime` goes by: the cluster as it was just seen, and the time that has passed."""

    seeded: bool
    """Every position over there was ours in this stay: they are seeded all at once."""
    here: bool
    """A member has, is to get or asks for partitions of the side that the group leaves."""
    there: bool
    """The same for the side that it goes to."""
    known: bool
    """Every position here is decided, and nobody joins or leaves the group at the moment."""
    moved: bool
    """A position here is not the one that was primed last, or what was primed calls itself final."""
    final: bool
    """The last prime is final and of the positions here as they are now."""
    due: bool
    """The interval since the last attempt is over."""
    stale: bool
    """The last prime is so old that it is written anew."""
    gated: bool
    """Members are kept waiting over there until the positions are final."""


def decide_prime(seen: Observation) -> Action:
    """The one thing that is due. A position is never moved under a member over there that nobody holds back."""
    if not seen.seeded:
        return Action.END if seen.there else Action.SEED if seen.due and seen.known else Action.WAIT
    if seen.there and not seen.gated:
        return Action.END
    if not seen.here:
        return _nobody_left(seen)
    return Action.PRIME if not seen.there and seen.known and ((seen.due and seen.moved) or seen.stale) else Action.WAIT


def _nobody_left(seen: Observation) -> Action:
    if not seen.final:
        return Action.CONCLUDE if seen.due and seen.known else Action.WAIT
    return Action.RELEASE if seen.there else Action.WAIT


class Found(Protocol):
    """A translation: cutover.world.Translated."""

    @property
    def positions(self) -> Mapping[int, int]:
        """The equivalent positions on the other side; a lower bound unless final."""

    @property
    def final(self) -> bool:
        """Whether nothing that the group read is still to be copied."""

    @property
    def duplicates(self) -> int:
        """Records that would be read again."""


class Hand(Protocol):
    """Writes positions in one open transaction at a time: cutover.engine.control.Control."""

    def prepare_positions(self, group: str, positions: Mapping[TopicPartition, Committed], /) -> float:
        """Write positions and leave them pending; returns the seconds until they expire."""

    def finish_positions(self, topic: str, /, *, commit: bool, read_back: bool = True) -> object:
        """Commit or abort what is pending."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which group goes from which partitions to which, in which stay of which run."""

    group: str
    run: str
    stay: int
    here: tuple[TopicPartition, ...]
    there: tuple[TopicPartition, ...]

    @property
    def topic(self) -> str:
        """The topic that it goes to."""
        return self.there[0].topic

    def ours(self, position: Committed | None) -> Mark | None:
        """The mark of this stay that a position bears."""
        mark = Mark.of(position.metadata) if position is not None else None
        return mark if mark is not None and (mark.run, mark.stay) == (self.run, self.stay) else None


@dataclass(frozen=True, slots=True)
class Seen:
    """The group as it was just seen. `given` is None while a position here is not decided.

    While it is not settled nothing is left pending: librdkafka answers a pending position and a rebalance together by starting at
    its auto.offset.reset (docs/moving-groups.md).
    """

    here: tuple[Member, ...]
    there: tuple[Member, ...]
    decided: Mapping[TopicPartition, Committed | None]
    given: Mapping[int, int] | None
    settled: bool


def look(cluster: Cluster, route: Route) -> Seen:
    """Members first: whatever they commit later is seen by the next look."""
    described = cluster.describe_groups([route.group])[route.group]
    members = described.members or ()
    decided = cluster.decided(route.group, route.there)
    told = cluster.committed([route.group], route.here)[route.group]
    given = {where.partition: each.offset for where, each in told.items() if isinstance(each, Committed)}
    return Seen(
        _readers(members, route.here[0].topic),
        _readers(members, route.topic),
        decided,
        None if PENDING in told.values() else given,
        described.state in SETTLED,
    )


def _readers(members: Collection[Member], topic: str) -> tuple[Member, ...]:
    return tuple(each for each in members if each.holds(topic) or topic in (each.subscribed or ()))


@dataclass(frozen=True, slots=True)
class Early:
    """A partition over there whose position a member moved before it was given free."""

    partition: int
    offset: int
    members: tuple[str, ...]
    """Who held it when that was seen, as client id and host."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of a primer. `most`: how many records may be read again for it to let the group go.

    `gated` is for groups of the Java client alone: librdkafka may lose records at a gate, KafkaJS does not wait at one.
    """

    gated: bool = False
    interval_seconds: float = 0.1
    refresh_seconds: float = REFRESH_SECONDS
    most: int | None = None


@dataclass(slots=True)
class Primer:
    """Keeps one group's positions on the other side current. Called in a loop; raises ProducerFenced once it is deposed."""

    route: Route
    cluster: Cluster
    translate: Callable[[Mapping[int, int]], Found]
    verify: Callable[[Any], None]
    open_hand: Callable[[str], Hand]
    release_act: Callable[[Mapping[str, Any]], AbstractContextManager[dict[str, Any]]]
    """Begins the entry of the release in the journal; what the release came to is put into the dictionary."""
    left_open: Callable[[], Collection[str]]
    """Which hands have a transaction open now, whoever began it."""
    pause: Callable[[float], None]
    """Sleeps between two looks at what was just committed."""
    wishes: Wishes = field(default_factory=Wishes)
    standing: Standing = Standing.UNSEEDED
    trouble: str = ""
    """Why the last attempt came to nothing; empty after one that did."""
    early: dict[int, Early] = field(default_factory=dict)
    commits: int = 0
    duplicates: int | None = None
    """What the last translation would have the group read again."""
    began: Mapping[int, int] = field(default_factory=dict)
    """Where members began over there, when that was not at final positions."""
    _hands: "_Hands" = field(init=False)
    _sequence: int = 0
    _written: Mapping[int, int] = field(default_factory=dict)
    _primed: Mapping[int, int] | None = None
    _primed_at: float = float("-inf")
    _tried_at: float = float("-inf")
    _final: bool = False

    def __post_init__(self) -> None:
        self._hands = _Hands(self.route, self.open_hand, self.left_open)

    def tick(self, now: float) -> Action:
        """Look, decide and act once; returns what was tried. Trouble with the cluster is kept, and tried again later."""
        if self.standing in ENDED:
            return Action.WAIT
        try:
            return self._tick(now)
        except ProducerFenced:
            raise
        except CutoverError as error:
            self.trouble = error.what
            return Action.WAIT

    def _tick(self, now: float) -> Action:
        seen = look(self.cluster, self.route)
        self._notice(seen)
        self._keep_gate(now)
        action = decide_prime(self._observation(seen, now))
        if action in {Action.SEED, Action.PRIME, Action.CONCLUDE}:
            self._tried_at = now
        if not seen.here and self._final_for(seen) and self.standing is Standing.READY:
            self.standing = Standing.FINAL
        elif seen.here and self.standing is Standing.FINAL:
            self.standing = Standing.READY
        ACTS[action](self, seen, now)
        self._keep_gate(now)
        return action

    def _observation(self, seen: Seen, now: float) -> Observation:
        return Observation(
            seeded=self._is_seeded(seen),
            here=bool(seen.here),
            there=bool(seen.there),
            known=seen.given is not None and seen.settled,
            moved=seen.given != self._primed or self._final,
            final=self._final_for(seen),
            due=now - self._tried_at >= self.wishes.interval_seconds,
            stale=now - self._primed_at >= self.wishes.refresh_seconds and now - self._tried_at >= self.wishes.interval_seconds,
            gated=self.wishes.gated,
        )

    def _is_seeded(self, seen: Seen) -> bool:
        """Every position was ours once: read back by us, or some of them still bear our mark. Members overwrite marks as they commit."""
        return self.standing in {Standing.READY, Standing.FINAL} or any(map(self.route.ours, seen.decided.values()))

    def _final_for(self, seen: Seen) -> bool:
        return self._final and seen.given == self._primed

    def _notice(self, seen: Seen) -> None:
        """Take in what is over there: how far our own marks have come, and what members moved."""
        marks = {where: self.route.ours(position) for where, position in seen.decided.items()}
        numbers = [mark.sequence for mark in marks.values() if mark is not None]
        if None in seen.decided.values():  # somebody removed them: they are written anew
            self.standing, self._primed = Standing.UNSEEDED, None
        elif numbers and self.standing is Standing.UNSEEDED:
            self.standing = Standing.READY
        if not self._is_seeded(seen):
            return
        self._sequence = max(self._sequence, *numbers, 0)
        for where, mark in marks.items():
            position = seen.decided[where]
            if mark is None and position is not None and where.partition not in self.early:
                names = tuple(sorted(_name(each) for each in seen.there if where in each.assigned) or map(_name, seen.there))
                self.early[where.partition] = Early(where.partition, position.offset, names)
        held = self._hands.held or {where: position for where, position in seen.decided.items() if position is not None}
        self._hands.held = {where: each for where, each in held.items() if where.partition not in self.early}

    # Acts.

    def _wait(self, _seen: Seen, _now: float) -> None:
        """Nothing is due."""

    def _end(self, seen: Seen, _now: float) -> None:
        """Members are over there, and nobody holds them back."""
        self.standing = Standing.STARTED if self._is_seeded(seen) else Standing.EARLY
        if not self._final_for(seen):
            self.duplicates = None  # they began at an earlier prime, while others went on here
            self.began = dict(self._written)
        self._hands.open_gate()

    def _prime(self, seen: Seen, now: float) -> None:
        """A safe position on every partition, for as long as nobody is over there."""
        found = self.translate(seen.given or {})
        self._write(seen, found.positions, now, final=False)

    def _conclude(self, seen: Seen, now: float) -> None:
        """The positions of the last commits, derived twice, while nobody is left here."""
        found = self.translate(seen.given or {})
        self.duplicates = found.duplicates
        if not found.final:
            self.trouble = "the mirror has not copied all that the group has read"
            return
        if self.wishes.most is not None and found.duplicates > self.wishes.most:
            self.trouble = f"it would read {found.duplicates:,} records again, its plan allows {self.wishes.most:,}"
            return
        self.verify(found)
        self._write(seen, found.positions, now, final=True)

    def _release(self, _seen: Seen, _now: float) -> None:
        """Open the gate: members over there begin at the final positions, which were read back before."""
        with self.release_act({"group": self.route.group}) as evidence:
            self._hands.open_gate()
            self.standing = Standing.RELEASED
            evidence.update(self.evidence())

    def evidence(self) -> dict[str, Any]:
        """What is over there now, and what was met on the way."""
        decided = self.cluster.decided(self.route.group, self.route.there)
        return {
            "group": self.route.group,
            "topic": self.route.topic,
            "positions": {str(where.partition): each.offset for where, each in sorted(decided.items()) if each is not None},
            "ours": sorted(where.partition for where, each in decided.items() if self.route.ours(each)),
            "duplicates": self.duplicates,
            "gated": self.wishes.gated,
            "early": [{"partition": each.partition, "offset": each.offset, "members": list(each.members)} for each in self.early.values()],
        }

    # The write protocol.

    def _write(self, before: Seen, positions: Mapping[int, int], now: float, *, final: bool) -> None:
        """Write, look again, and only then commit: a member's commit is either seen by that look, or later in Kafka's log and wins."""
        self._sequence += 1
        mark = str(Mark(self.route.run, self.route.stay, self._sequence, final=final))
        wanted = {where: Committed(positions[where.partition], mark) for where in self.route.there if where.partition not in self.early}
        if not wanted:
            self.trouble = "members have moved every position over there"
            return
        hand = self._hands.writing()
        hand.prepare_positions(self.route.group, wanted)
        why = "nobody looked again"
        try:
            why = _changed(before, look(self.cluster, self.route), wanted, final=final, gated=self.wishes.gated)
        finally:
            self._finish(hand, wanted, commit=not why)
        self.trouble = why
        if not why:
            self.commits += 1
            self._primed, self._primed_at, self._final = before.given, now, final
            self._hands.held = wanted
            self._written = {where.partition: each.offset for where, each in wanted.items()}
            if self.standing is Standing.UNSEEDED:
                self.standing = Standing.READY

    def _finish(self, hand: Hand, wanted: Mapping[TopicPartition, Committed], *, commit: bool) -> None:
        """End it. An outcome that is not known is looked at: the marks tell."""
        try:
            hand.finish_positions(self.route.topic, commit=commit, read_back=False)
        except WriteUnknown:
            if not commit:
                return
        if commit:
            self._read_back(wanted)

    def _read_back(self, wanted: Mapping[TopicPartition, Committed]) -> None:
        for _ in range(READ_BACK_TRIES):
            found = self.cluster.decided(self.route.group, list(wanted))
            if any(found[where] == each for where, each in wanted.items()):  # all or none: others were moved by members since
                return
            self.pause(READ_BACK_SECONDS)
        group, topic = self.route.group, self.route.topic
        raise WriteUnknown(f"positions of {group} on {topic} were committed and cannot be read back", group=group)

    # The gate.

    def _keep_gate(self, now: float) -> None:
        if self.wishes.gated and self.standing in {Standing.READY, Standing.FINAL}:
            self._hands.keep_gate(now)

    def close(self) -> None:
        """Open the gate and let go of what it writes with."""
        self._hands.open_gate()
        self._hands.leave()

    def leave(self) -> None:
        """Let go, and leave the gate to whoever comes next, for as long as its transaction lasts."""
        self._hands.leave()


ACTS: Mapping[Action, Callable[[Primer, Seen, float], None]] = {
    Action.WAIT: Primer._wait,
    Action.SEED: Primer._prime,
    Action.PRIME: Primer._prime,
    Action.CONCLUDE: Primer._conclude,
    Action.RELEASE: Primer._release,
    Action.END: Primer._end,
}


def _changed(before: Seen, after: Seen, wanted: Collection[TopicPartition], *, final: bool, gated: bool) -> str:
    """What happened between two looks that forbids the commit; empty if nothing did."""
    if any(before.decided[where] != after.decided[where] for where in wanted):
        return "positions over there were moved meanwhile"
    if after.there and not (final and gated):
        return "members came to the other side meanwhile"
    if not final:
        return ""
    if after.here:
        return "members came back meanwhile"
    return "" if after.given == before.given else "a late commit arrived"


def _name(member: Member) -> str:
    return f"{member.client_id or member.member_id} at {member.host}"


@dataclass(slots=True)
class _Hands:
    """Two hands in turn: one keeps the gate by leaving positions pending, the other writes primes.

    The next one has its own pending before the last one ends, so that the gate has no gap. What keeps the gate is only ever
    aborted: if it expires, members begin at the last prime.
    """

    route: Route
    open_hand: Callable[[str], Hand]
    left_open: Callable[[], Collection[str]]
    held: Mapping[TopicPartition, Committed] = field(default_factory=dict)
    _open: dict[str, Hand] = field(default_factory=dict)
    _keeper: str = ""
    _until: float = 0.0
    _seconds: float = 0.0

    def writing(self) -> Hand:
        """The hand that keeps no gate."""
        return self._hand(self._next())

    def _next(self) -> str:
        """The one whose turn it is: at first the one that a former driver does not keep the gate with, for opening ends its transaction."""
        busy = self._keeper or (not self._open and "a" in self.left_open() and "a")
        return "b" if busy == "a" else "a"

    def _hand(self, name: str) -> Hand:
        if name not in self._open:
            self._open[name] = self.open_hand(name)
        return self._open[name]

    def keep_gate(self, now: float) -> None:
        """Hold it, and hand it on once half of its transaction's time is over."""
        if not self.held or (self._keeper and self._until - now > self._seconds / 2):
            return
        last, name = self._keeper, self._next()
        self._seconds = self._hand(name).prepare_positions(self.route.group, self.held)
        self._keeper, self._until = name, now + self._seconds
        if last:
            self._abort(last)
        for each in NAMES:  # both from the start: whoever is deposed must not open one later, and depose in turn
            self._hand(each)

    def open_gate(self) -> None:
        """Nobody is held back any more."""
        if self._keeper:
            last, self._keeper = self._keeper, ""
            self._abort(last)

    def _abort(self, name: str) -> None:
        """An abort that fails has expired, or will: the gate opens either way."""
        try:
            self._open[name].finish_positions(self.route.topic, commit=False)
        except (TransactionExpired, Unreachable, WriteUnknown):
            return

    def leave(self) -> None:
        """End both processes; what is pending expires."""
        for hand in self._open.values():
            hand.close()
        self._open.clear()
