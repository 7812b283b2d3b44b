"""What a run has at hand: its plan, the cluster, the control log, the keeper of mirror and audit, its history.

Stages, the flip and the moves get one of these and reach the world through nothing else. Wiring builds it.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from cutover.drained import Draining
from cutover.errors import Ambiguous, ControlUnreadable, CutoverError, LeaseLost
from cutover.history import Body, History, told_to
from cutover.model import Committed, ControlRecord, Record, TopicPartition
from cutover.plan import Group, Plan, Producer
from cutover.ports import Cluster, Reader
from cutover.protocol import ControlState, Cut, Message, Mode, PairState, Side, Topic, UnreadableRecordError, parse
from cutover.run import Run

HEARD_SECONDS = 10.0
LONGEST_REST_SECONDS = 30.0


class Hand(Protocol):
    """Our own writes, each under the driver's fence: cutover.engine.control.Control."""

    def write_control(self, topic: str, records: Any, *, timeout_seconds: float | None = None) -> tuple[int, ...]:  # noqa: ANN401
        """Append to the control log."""

    def fence(self, transactional_ids: Collection[str], *, timeout_seconds: float | None = None) -> Any:  # noqa: ANN401
        """Shut out the holders of these ids."""

    def commit_positions(self, group: str, positions: Mapping[TopicPartition, Committed], *, timeout_seconds: float | None = None) -> None:
        """Write a group's positions, all or none."""

    def append_records(self, to: TopicPartition, records: Sequence[Record], *, timeout_seconds: float | None = None) -> tuple[int, ...]:
        """Append records as they stand to a partition, all or none."""


class Tail(Protocol):
    """The records of the control log as they come: cutover.kafka.tail.Tail."""

    def read(self, seconds: float) -> Any:  # noqa: ANN401
        """What has come since; waits at most so long for the first."""

    def read_to_end(self, seconds: float) -> Any:  # noqa: ANN401
        """Everything that is there now."""

    def close(self) -> None:
        """Let go of it."""


class Voice(Protocol):
    """Appends single records to the control log without a transaction: cutover.kafka.appender.Appender."""

    def ready(self) -> None:
        """Know who leads the topic, with a connection open."""

    def append(self, key: bytes, value: bytes) -> int:
        """Append one record and give its offset."""


class Mirror(Protocol):
    """The mirror of the present epoch."""

    def drain_to(self, offsets: Mapping[int, int] | None) -> None:
        """Put walls on the primary, or take them away."""

    def wait_drained(self, seconds: float) -> Mapping[int, int]:
        """The committed positions, as soon as every lane stands at its wall or when the time is over."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A record on the follower that no lane of the run wrote; producer_id is -1 for one that is not idempotent."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    producer_id: int


class Keeper(Protocol):
    """Keeps the mirror and the audit of the present epoch going: cutover.engine.keeper.PairKeeper."""

    @property
    def mirror(self) -> Mirror:
        """The mirror of the present epoch."""

    @property
    def copies(self) -> bool:
        """Whether anything is copied and audited in the present epoch."""

    @property
    def running(self) -> bool:
        """Whether the mirror of the epoch that the log says runs, and nobody of another one."""

    @property
    def ended(self) -> bool:
        """Whether nothing of the run's mirror is left."""

    @property
    def auditing(self) -> bool:
        """Whether an audit runs."""

    @property
    def strays(self) -> Collection[Stray]:
        """The records of stragglers that the audit of this epoch has found."""

    def keep(self, *, audit: bool = False) -> None:
        """Start what should run and does not, for the epoch that the log says; end what should not."""

    def tick(self) -> None:
        """Hear what the processes say; raises what ends a run."""

    def lag_seconds(self) -> float | None:
        """How far the follower is behind; None when it is not known."""

    def audit_age_seconds(self) -> float | None:
        """The age of the last verified cut; None when there is none."""

    def words(self) -> str:
        """How the mirror is, for people."""

    def audit_words(self) -> str:
        """How the audit is, for people."""

    def verify(self, cut: Cut, seconds: float) -> bool:
        """Prove this cut by reading both topics; False when there is no time. Raises AuditViolation."""

    def barrier(self, seconds: float) -> Cut:
        """A cut while producers go on: the mirror stands still at the primary's end until the follower's is read."""

    def limit(self, rate: str) -> str:
        """Set the mirror's rate limit while it runs; says what is in force."""

    def end(self, why: str) -> list[str]:
        """End both for good and shut out every lane of the run; the transactional ids that were fenced."""

    def end_audit(self) -> None:
        """End the audit."""

    def clear(self, reason: str, cut: Cut) -> str:
        """Somebody takes responsibility for what a red audit found: it begins anew at this cut."""

    def leave(self) -> None:
        """Leave the workers running for their grace time."""

    def document(self) -> Mapping[str, Any]:
        """How both are, as JSON values."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A group's positions on one side, and the equivalent ones on the other. `final`: nothing it read is still to be copied."""

    side: Side
    given: Mapping[int, int]
    positions: Mapping[int, int]
    duplicates: int
    lost: int
    final: bool
    evidence: Any = None
    """What the translation rests on, for the second derivation."""


Missing = Literal["", "earliest", "latest"]
"""What a partition without a position counts as; empty: it is refused."""


class Translator(Protocol):
    """Turns positions on one side into those on the other, whatever epochs they lie in: cutover.engine.translator."""

    def translate(self, side: Side, positions: Mapping[int, int], *, missing: Missing = "") -> Translated:
        """The equivalent of positions on this side. Raises NotMovable, PositionUnusable, PositionsExpired."""

    def verify(self, found: Translated) -> None:
        """Derive it again by other means; raises TranslationsDiffer."""


class Hooks(Protocol):
    """Runs the hooks of groups and producers: cutover.switches."""

    def run(self, world: "World", subject: Any, verb: str, step: str, **outcome: Any) -> Body:  # noqa: ANN401
        """Run one verb once, journalled; raises HookFailed, HookUnknown."""

    def settle(self, world: "World", subject: Any, verb: str, step: str) -> Body:  # noqa: ANN401
        """Find out what came of a call that was left open, and write it down; raises HookUnknown where nobody can tell."""


class Primers(Protocol):
    """Keeps the positions of primed groups current on the other side."""

    interval_seconds: float

    def tick(self, world: "World") -> None:
        """What is due now."""

    def waits_for(self, world: "World", group: Group, to: Side) -> str:
        """What the group's move waits for; empty once its members are on the other side and may be written down there."""

    def finish(self, world: "World", group: Group, to: Side) -> Body:
        """End the group's priming: what was written last, and what it cost."""

    def document(self) -> Mapping[str, Any]:
        """Where each group's priming stands."""

    def close(self) -> None:
        """Let go of everything; what is pending is aborted."""


@dataclass(slots=True)
class ControlLog:
    """The driver's side of the control log: what it says, and our own words, heard back before anything rests on them.

    `open_tail` and `open_voice` begin to follow and to write the topic, once it is there.
    """

    topic: str
    hand: Hand
    open_tail: Callable[[], Tail]
    open_voice: Callable[[], Voice]
    state: ControlState = field(default_factory=ControlState)
    _tail: Tail | None = None
    _voice: Voice | None = None

    @property
    def voice(self) -> Voice:
        """Our words that need no fence."""
        if self._voice is None:
            self._voice = self.open_voice()
        return self._voice

    @property
    def tail(self) -> Tail:
        """The records as they come."""
        if self._tail is None:
            self._tail = self.open_tail()
        return self._tail

    def close(self) -> None:
        """Stop following it."""
        if self._tail is not None:
            self._tail.close()

    def refresh(self, seconds: float = 0.0) -> None:
        """Take in what has come; waits at most so long for the first record. Nothing comes before the topic was opened."""
        if self._tail is None:
            return
        self._take(self.tail.read(seconds))

    def catch_up(self) -> None:
        """Read to the end of the log as it is now."""
        self._take(self.tail.read_to_end(HEARD_SECONDS))

    def _take(self, records: Any) -> None:  # noqa: ANN401
        for offset, value in records:
            try:
                record = parse(value)
            except UnreadableRecordError as error:
                raise ControlUnreadable(
                    f"record {offset} of {self.topic} is none of the protocol's", why=str(error), topic=self.topic, offset=offset
                ) from error
            self.state = self.state.then(offset, record)

    def say(self, *messages: Message) -> int:
        """Append under the driver's fence, all or none; returns once they were read back. Raises ProducerFenced, WriteUnknown."""
        records = [ControlRecord(str(getattr(each, "pair", "")).encode(), each.encoded()) for each in messages]
        last = self.hand.write_control(self.topic, records)[-1]
        if not self.wait(lambda state: state.after > last, HEARD_SECONDS):
            raise ControlUnreadable(f"record {last} of {self.topic} was written and cannot be read", topic=self.topic, offset=last)
        return last

    def warm_up(self) -> None:
        """Have both connections open before anybody is held."""
        self.voice.ready()
        self.refresh()

    def call(self, message: Message) -> int:
        """Append a word that needs no fence: it holds, or lets go where everybody was, and moves nobody. Read back before it returns."""
        offset = self.voice.append(str(getattr(message, "pair", "")).encode(), message.encoded())
        if not self.wait(lambda state: state.after > offset, HEARD_SECONDS):
            raise ControlUnreadable(f"record {offset} of {self.topic} was written and cannot be read", topic=self.topic, offset=offset)
        return offset

    def wait(self, seen: Callable[[ControlState], bool], seconds: float) -> bool:
        """Hear the log until this is so, at most so long."""
        deadline = time.monotonic() + seconds
        while not seen(self.state):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.refresh(min(left, 0.05))
        return True


class Write(Protocol):
    """Appends one entry to the journal of this run, under the lease."""

    def __call__(self, kind: str, stage: str, step: str, body: Body, /) -> Any:  # noqa: ANN401
        """The entry as it was written; raises LeaseLost."""


@dataclass(slots=True)
class Watch:
    """What one driver has seen with its own clock, and the next one sees anew; times are monotonic."""

    within_since: float | None = None
    soak_since: float | None = None
    soak_looked_at: float = 0.0
    soak_trouble: str = ""
    rest_until: float = 0.0
    resting: str = ""
    unanswered: int = 0
    left_behind: set[str] = field(default_factory=set)
    """Groups that have read far past their cut while they were waited for: they get another one."""
    draining: dict[str, Draining] = field(default_factory=dict)
    """By group."""
    set_aside: dict[str, CutoverError] = field(default_factory=dict)
    """What went wrong with the move of a group, by its name, while others are under way."""

    def rest(self, seconds: float, why: str) -> None:
        """Let nothing be tried before this time has passed."""
        self.rest_until, self.resting = time.monotonic() + seconds, why

    def resting_words(self) -> str:
        """What is rested for; empty when it is not."""
        return self.resting if time.monotonic() < self.rest_until else ""

    def stumble(self, why: str, tell: Callable[[str], None]) -> None:
        """Something repeatable failed: rest before it is looked at anew, longer each time."""
        self.unanswered += 1
        tell(f"not yet, looking again: {why}")
        self.rest(min(LONGEST_REST_SECONDS, 0.5 * 2**self.unanswered), f"another look; {why}")


@dataclass(slots=True)
class World:
    """Everything a stage may reach."""

    plan: Plan
    plan_digest: str
    cluster_id: str
    operator: str
    source: Topic
    cluster: Cluster
    reader: Reader
    hand: Hand
    log: ControlLog
    history: History
    write: Write
    tell: Callable[[str], None]
    has_control: bool
    """Whether the control topic is there."""
    keeper: Keeper = field(init=False)
    translator: Translator = field(init=False)
    hooks: Hooks = field(init=False)
    primers: Primers = field(init=False)
    watch: Watch = field(default_factory=Watch)
    beat: Callable[[], None] = lambda: None
    """What must go on during a long act; the driver sets it."""
    scope: str = ""
    """Begins the journal's steps of this pair; empty for the first one, whose steps are the run's."""
    run_plan: Plan | None = None
    """The plan of the whole run, where `plan` is that of one pair among several."""
    together: "tuple[World, ...]" = ()
    """The worlds of all pairs that are switched together, the first one leading; empty where there is one."""

    @property
    def pairs(self) -> "tuple[World, ...]":
        """One world for each pair of the run."""
        return self.together or (self,)

    @property
    def whole(self) -> Plan:
        """The plan of the whole run."""
        return self.run_plan or self.plan

    def having(self, subject: Group | Producer) -> "tuple[World, ...]":
        """The worlds of the pairs that a group reads, or a producer writes."""
        return tuple(each for each in self.pairs if subject in (*each.plan.groups, *each.plan.producers))

    @property
    def paired(self) -> bool:
        """Whether the log knows the pair and has not closed it."""
        found = self.log.state.pairs.get(self.run_id)
        return found is not None and not found.closed

    @property
    def all_paired(self) -> bool:
        """Whether this is so of every pair of the run."""
        return all(each.paired for each in self.pairs)

    @property
    def run_id(self) -> str:
        """The pair's id, from the ids of both topics; empty before T is created."""
        target = self._target_id
        return Run.of(self.mirror_name, self.source.id, target).run_id if target else ""

    @property
    def mirror_name(self) -> str:
        """What the mirror's group and transactional ids are named after: another T has other ones."""
        return f"{self.plan.cutover[:100]}-{self._target_id[:8]}"

    @property
    def _target_id(self) -> str:
        return str((self.fact("create_target") or {}).get("topic_id", ""))

    @property
    def pair(self) -> PairState:
        """The pair as the log has it now."""
        return self.log.state.pairs[self.run_id]

    @property
    def one_way(self) -> bool:
        """Whether the writes were switched under a plan without a way back."""
        return self.plan.way_back == "none" and self.paired and self.pair.mode is Mode.TARGET

    @property
    def on_follower(self) -> tuple[str, ...]:
        """The groups of the plan that read the follower, and so depend on the mirror; none where nothing is copied."""
        if not self.keeper.copies:
            return ()
        follower = Side.TARGET if self.pair.mode is Mode.SOURCE else Side.SOURCE
        return tuple(group.name for group in self.plan.groups if self.pair.group(group.name).side is follower)

    def latest(self, group: Group) -> Mapping[int, int]:
        """Where a group that begins at the latest record stands on partitions without a position: the ends before it was to move."""
        stay = self.history.done.get(f"moved:{group.name}", 0)
        noted = (self.fact(f"latest:{group.name}:{stay}") or {}).get("ends", {})
        return {int(partition): int(offset) for partition, offset in noted.items()}

    def topic(self, side: Side) -> Topic:
        """The topic of a side."""
        return self.pair.topic(side)

    def record(self, kind: str, step: str, body: Body) -> None:
        """Write an entry and take it into the history, of every pair whose it is."""
        entry = self.write(kind, self.history.standing.stage.value, self.scope + step, body)
        for each in self.pairs:
            each.history = each.history.then(*told_to(each.scope, [entry]))

    @contextmanager
    def act(self, step: str, **intent: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        """An effect: intent before, outcome after. With an unknown outcome the intent stays open, to be settled by looking."""
        self.record("intent", step, intent)
        evidence: dict[str, Any] = {}
        try:
            yield evidence
        except (Ambiguous, LeaseLost):
            raise
        except CutoverError as error:
            self.record("outcome", step, {"failed": error.document()})
            raise
        self.record("outcome", step, evidence)

    def fact(self, step: str) -> Body | None:
        """What a step came to, the last time that it succeeded."""
        return self.history.facts.get(step)

    def writers(self, topic: str, partitions: Collection[int], *, since_ms: int) -> list[dict[str, Any]]:
        """The idempotent producers that wrote these partitions since then; others leave no name on a broker."""
        found = self.cluster.producers([TopicPartition(topic, number) for number in partitions])
        return [
            {"partition": where.partition, "producer_id": each.producer_id, "last_write_ms": each.last_timestamp_ms}
            for where, states in found.items()
            for each in states
            if each.last_timestamp_ms >= since_ms
        ]
