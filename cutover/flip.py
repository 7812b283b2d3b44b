"""The write switch: hold producers, drain the mirror, take a verified cut, let producers go on in another mode (DESIGN 7).

One attempt is one bounded act, for all pairs that are switched together. Its commit point is the release in the control log: before
it everything can be undone by letting producers go on where they were, after it the attempt is finished whatever happens to whoever
began it. Only the release is written under the driver's fence: HOLD and its undoing move nobody, so a deposed driver can delay
producers with them and do no more.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cutover.errors import Ambiguous, AttemptsSpent, CutoverError, FlipUndone
from cutover.model import Isolation, Record, TopicPartition
from cutover.protocol import Another, Asked, Cut, Hold, Instance, Mode, PairState, Release, Role, Side, greatest, problems, transactional_id
from cutover.world import World

LOOK_SECONDS = 0.002
UNEXPLAINED_SHOWN = 10
HELD_CUT = "held_cut"
CUT_SECONDS = 10.0
DECIDED_SECONDS = 10.0
"""How long after its budget an attempt is decided at the latest: an instance says EXPIRED, or a dead transaction ends."""
SILENT_SHARE = 0.5
"""After this part of its budget an attempt that may shuts out who has not answered: what follows needs the rest."""
Vector = Mapping[int, int]


@dataclass(slots=True)
class Timeline:
    """When each part of an attempt was over, in milliseconds since HOLD was asked for."""

    began: float = field(default_factory=time.monotonic)
    ms: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        """That part is over now."""
        self.ms[name] = round((time.monotonic() - self.began) * 1000, 1)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was seen of a pair before HOLD: the ends that are history, and who is expected to answer."""

    world: World
    state: PairState
    baseline: Vector
    instances: tuple[Instance, ...]


def waits_for(world: World) -> str:
    """What must come before an attempt can succeed; empty when nothing does. Asked before anybody is held."""
    waits = {each.source.name: words for each in world.pairs if (words := _waits_for(each))}
    return "; ".join(f"{name}: {words}" for name, words in waits.items()) if len(world.pairs) > 1 else "".join(waits.values())


def _waits_for(world: World) -> str:
    joined, wanted = _instances(world), sum(each.instances for each in world.plan.producers if each.switch_kind == "sdk")
    if len(joined) < wanted:
        names = ", ".join(sorted(each.name for each in joined)) or "nobody"
        return f"{wanted} producer instances to join, {len(joined)} have: {names}; one that is not known would go on writing"
    lag, bound = world.keeper.lag_seconds(), world.plan.budgets.mirror_lag
    if lag is None or lag > bound:
        return f"the mirror to be within {bound:g} s: {world.keeper.words()}"
    age, most = world.keeper.audit_age_seconds(), world.plan.budgets.audit_age
    if age is None or age > most:
        return f"the audit to be within {most:g} s: {world.keeper.audit_words()}"
    return ""


def _instances(world: World) -> tuple[Instance, ...]:
    return world.log.state.members(world.pair.pair, Role.PRODUCER)


def prepare(world: World) -> tuple[Prepared, ...]:
    """See that an attempt can succeed; raises FlipUndone, and has changed nothing."""
    waits = waits_for(world)
    if waits:
        raise FlipUndone(f"not yet: {waits}", why="Producers would be held in vain.", traffic="Traffic is as it was: nobody was held.")
    return _prepared(world)


def _prepared(world: World) -> tuple[Prepared, ...]:
    world.log.warm_up()
    ready = []
    for each in world.pairs:
        primary = each.pair.primary
        baseline = _ends(each, primary.name, primary.partitions, Isolation.READ_UNCOMMITTED)
        ready.append(Prepared(each, each.pair, baseline, _instances(each)))
    return tuple(ready)


@dataclass(slots=True)
class Attempt:
    """One attempt to put producers into a mode. `run` returns what it was like, or raises FlipUndone once it is undone."""

    world: World
    to: Mode
    fence_silent: bool = False
    """Shut out transactional instances that do not answer, instead of undoing."""
    timeline: Timeline = field(default_factory=Timeline)
    term: int = 0
    _deadline: float = 0.0

    def run(self) -> dict[str, Any]:
        """Hold, drain, verify, release."""
        ready = prepare(self.world)
        with self._begun("flip", ready) as evidence:
            cuts = self._under_hold(ready)
            self._release(ready, cuts)
            evidence.update(self._evidence(ready, cuts), epoch=ready[0].state.epoch + 1, mode=self.to.value)
        return dict(evidence)

    def take_cuts(self, *, verify: bool) -> dict[str, Cut]:
        """Hold, verify, and let everybody go on where they were: a cut of every pair, by its id."""
        ready = prepare(self.world) if verify else _prepared(self.world)
        with self._begun(HELD_CUT, ready) as evidence:
            cuts = self._under_hold(ready, verify=verify)
            self._let_go(ready)
            evidence.update(self._evidence(ready, cuts), epoch=ready[0].state.epoch)
        return {each.state.pair: cut for each, cut in zip(ready, cuts, strict=True)}

    @contextmanager
    def _begun(self, step: str, ready: Sequence[Prepared]) -> Iterator[dict[str, Any]]:
        self.term = 1 + max(each.state.term for each in ready)
        with self.world.act(step, term=self.term, epoch=ready[0].state.epoch + 1, to=self.to.value) as evidence:
            self.timeline = Timeline()
            self._deadline = self.timeline.began + self.world.plan.budgets.hold
            yield evidence

    def _evidence(self, ready: Sequence[Prepared], cuts: Sequence[Cut]) -> dict[str, Any]:
        told = {each.state.told.source.name: cut.model_dump(mode="json") for each, cut in zip(ready, cuts, strict=True)}
        several = {"cuts": told} if len(ready) > 1 else {}
        return {"term": self.term, "cut": cuts[0].model_dump(mode="json"), **several, "ms": self.timeline.ms}

    def _under_hold(self, ready: Sequence[Prepared], *, verify: bool = True) -> list[Cut]:
        try:
            self._hold(ready)
            self._all_held(ready)
            until = [self._quiet(each) for each in ready]
            self.timeline.mark("quiet")
            followers = self._drained(ready, until)
            cuts = [_cut(each.state.mode, *ends) for each, *ends in zip(ready, until, followers, strict=True)]
            if verify:
                for each, cut in zip(ready, cuts, strict=True):
                    self._verified(each.world, cut)
                self.timeline.mark("verified")
            for each, ends in zip(ready, until, strict=True):
                self._still_quiet(each, ends)
        except BaseException as error:
            self._undo(ready, error)
            raise
        return cuts

    def _hold(self, ready: Sequence[Prepared]) -> None:
        first, *others = (each.state for each in ready)
        also = tuple(Another(pair=each.pair, epoch=each.epoch + 1) for each in others)
        budget_ms = round(self.world.plan.budgets.hold * 1000)
        asked = Hold(pair=first.pair, term=self.term, epoch=first.epoch + 1, to=self.to, budget_ms=budget_ms, **_several(also))
        self.world.log.call(asked)
        self.timeline.mark("hold_written")

    def _all_held(self, ready: Sequence[Prepared]) -> None:
        """Everybody who joined before HOLD has stopped, flushed and said so."""
        log, pairs = self.world.log, [each.state.pair for each in ready]
        spare_seconds = self.world.plan.budgets.hold * (1 - SILENT_SHARE) if self.fence_silent else 0.0
        self._until(lambda: self._asked() is None or not any(map(log.state.missing, pairs)), "", spare_seconds)
        if self._asked() is None:
            raise self._undone("an instance gave up waiting", "The budget passed at a producer before it heard more.")
        for each in ready:
            silent = log.state.missing(each.state.pair)
            if silent:
                self._shut_out(each.state.mode, silent)
            against = problems(self._asked_of(each))
            if against:
                words = "; ".join(f"{name}: {why}" for name, why in against.items())
                raise self._undone("an instance must not be switched", words, problems=against)
        self.timeline.mark("held")

    def _asked_of(self, ready: Prepared) -> Asked:
        hold = ready.world.pair.hold
        if hold is None or hold.term != self.term:
            raise self._undone("an instance gave up waiting", "The budget passed at a producer before it heard more.")
        return hold

    def _asked(self) -> Asked | None:
        hold = self.world.pair.hold
        return hold if hold is not None and hold.term == self.term else None

    def _shut_out(self, mode: Mode, silent: tuple[Instance, ...]) -> None:
        """A silent instance looks perfectly quiet, and its queue lands minutes later: fence it, or undo."""
        ids = [transactional_id(each.joined, mode) for each in silent]
        names = ", ".join(f"{each.name} on {each.joined.host or 'an unknown host'}" for each in silent)
        if not self.fence_silent or None in ids:
            raise self._undone(
                f"{len(silent)} producer instances did not answer: {names}",
                "What they have not sent yet would land on the old side after the switch.",
                silent=[each.name for each in silent],
            )
        self.world.hand.fence([each for each in ids if each is not None])

    def _quiet(self, ready: Prepared) -> dict[int, int]:
        """The end of the primary: everything below it was acknowledged to an instance, or was there before HOLD."""
        topic = ready.state.primary
        until: dict[int, int] = {}

        def settled() -> bool:
            nonlocal until
            until = _ends(self.world, topic.name, topic.partitions, Isolation.READ_UNCOMMITTED)
            return until == _ends(self.world, topic.name, topic.partitions, Isolation.READ_COMMITTED)

        self._until(settled, f"a transaction on {topic.name} stays open")
        acknowledged = greatest(self._asked_of(ready).acks.values())
        known = {p: max(ready.baseline.get(p, 0), acknowledged.get(p, -1) + 1) for p in until}
        self._require_explained(topic.name, {p: (known[p], end) for p, end in until.items() if end > known[p]})
        return until

    def _require_explained(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> None:
        """Markers may stand past what was acknowledged; a record there is somebody's whom nobody holds."""
        if not spans:
            return
        where = {TopicPartition(topic, p): span for p, span in spans.items()}
        foreign = list(self.world.reader.read(where, timeout_seconds=self._left()))
        if foreign:
            raise self._foreign(topic, foreign)

    def _foreign(self, topic: str, records: list[Record]) -> FlipUndone:
        places = [{"partition": each.partition, "offset": each.offset, "timestamp_ms": each.timestamp_ms} for each in records]
        return self._undone(
            f"somebody who is not held writes {topic}: {len(records)} records since HOLD",
            f"The first is at partition {records[0].partition}, offset {records[0].offset}; no instance of the library acknowledged it.",
            topic=topic,
            records=places[:UNEXPLAINED_SHOWN],
            writers=self.world.writers(topic, {each.partition for each in records}, since_ms=min(each.timestamp_ms for each in records)),
        )

    def _drained(self, ready: Sequence[Prepared], until: Sequence[Vector]) -> list[dict[int, int]]:
        """Every mirror stands exactly at the end; the followers' ends with every marker written."""
        for each, ends in zip(ready, until, strict=True):
            each.world.keeper.mirror.drain_to(ends)
        for each, ends in zip(ready, until, strict=True):
            if each.world.keeper.mirror.wait_drained(self._left()) != ends:
                raise self._undone("the mirror did not reach the end in time", "It stands at a wall and copies nothing past it.")
        self.timeline.mark("drained")
        followers = [self._settled(each) for each in ready]
        self.timeline.mark("cut")
        return followers

    def _settled(self, ready: Prepared) -> dict[int, int]:
        state = ready.state
        topic = state.told.source if state.mode is Mode.TARGET else state.told.target
        follower: dict[int, int] = {}

        def settled() -> bool:
            nonlocal follower
            follower = _ends(self.world, topic.name, topic.partitions, Isolation.READ_UNCOMMITTED)
            return follower == _ends(self.world, topic.name, topic.partitions, Isolation.READ_COMMITTED)

        self._until(settled, f"a transaction on {topic.name} stays open")
        return follower

    def _verified(self, world: World, cut: Cut) -> None:
        if not world.keeper.verify(cut, self._left()):
            raise self._undone("the cut was not proved in time", "Reading both topics up to it takes longer than the hold may.")

    def _still_quiet(self, ready: Prepared, until: Vector) -> None:
        """Whoever is not held and writes all the time is seen here at the latest."""
        topic = ready.state.primary
        now = _ends(self.world, topic.name, topic.partitions, Isolation.READ_UNCOMMITTED)
        self._require_explained(topic.name, {p: (until[p], end) for p, end in now.items() if end > until[p]})
        if self._asked() is None or self._left() <= LOOK_SECONDS:
            raise self._undone("the budget of the hold passed", "Producers wait no longer than the plan allows.")

    def _release(self, ready: Sequence[Prepared], cuts: Sequence[Cut]) -> None:
        """The commit point, for all pairs at once. Whichever of this and an instance's EXPIRED stands first in the log decides."""
        (first, cut), *others = ((each.state, cut) for each, cut in zip(ready, cuts, strict=True))
        also = tuple(Another(pair=each.pair, epoch=each.epoch + 1, cut=of_it) for each, of_it in others)
        epoch = first.epoch + 1
        try:
            self.world.log.say(Release(type=self.to.value, pair=first.pair, term=self.term, epoch=epoch, cut=cut, **_several(also)))
        except Ambiguous:  # the log says it, nobody else: it is decided by then, by the release or by an instance's EXPIRED
            self.world.log.wait(lambda _: self._asked() is None, self._left() + DECIDED_SECONDS)
        self.timeline.mark("released")
        if self.world.pair.epoch != epoch:
            error = self._undone(
                "an instance gave up waiting just before the release", "The log has its word first, so the attempt is void."
            )
            self._undo(ready, error)
            raise error

    def _undo(self, ready: Sequence[Prepared], error: BaseException) -> None:
        """Let producers go on where they were, and the mirrors past their walls; both errors are told if this fails."""
        try:
            self._let_go(ready)
        except CutoverError as failed:
            raise ExceptionGroup(
                "undoing an attempt to switch the writes failed", [error if isinstance(error, Exception) else failed, failed]
            ) from error

    def _let_go(self, ready: Sequence[Prepared]) -> None:
        state = ready[0].state
        if self._asked() is not None:
            self.world.log.call(Release(type=state.mode.value, pair=state.pair, term=self.term, epoch=state.epoch))
        for each in ready:
            each.world.keeper.mirror.drain_to(None)

    def _until(self, seen: Callable[[], bool], otherwise: str, spare_seconds: float = 0.0) -> None:
        """Wait within the budget, less what is spared, hearing the log; without `otherwise` the caller looks at what is missing."""
        while not seen():
            if self._left() <= LOOK_SECONDS + spare_seconds:
                if otherwise:
                    raise self._undone(otherwise, "The budget of the hold passed.")
                return
            self.world.log.refresh(LOOK_SECONDS)

    def _left(self) -> float:
        return max(LOOK_SECONDS, self._deadline - time.monotonic())

    def _undone(self, what: str, why: str, **fields: Any) -> FlipUndone:  # noqa: ANN401
        self.timeline.mark("undone")
        return FlipUndone(what, why=why, term=self.term, ms=self.timeline.ms, **fields)


def _several(also: tuple[Another, ...]) -> dict[str, Any]:
    """What a record about several pairs has more."""
    return {"v": 2, "also": also} if also else {}


def _cut(mode: Mode, primary: Vector, follower: Vector) -> Cut:
    return Cut(source=follower, target=primary) if mode is Mode.TARGET else Cut(source=primary, target=follower)


def _ends(world: World, topic: str, partitions: int, isolation: Isolation) -> dict[int, int]:
    where = [TopicPartition(topic, number) for number in range(partitions)]
    return {each.partition: end for each, end in world.cluster.end_offsets(where, isolation).items()}


def cuts(worlds: Sequence[World], *, proved: bool = True) -> list[Cut]:
    """A cut of each pair while producers go on.

    While they write both topics no mirror can stand still for one: they are held for as long as it takes, once for all pairs, and what
    audits run prove it if that is wanted. Raises FlipUndone then, and AttemptsSpent after the plan's number.
    """
    first = worlds[0].pairs[0]
    if first.pair.mode is not Mode.DUAL:
        return [each.keeper.barrier(CUT_SECONDS) for each in worlds]
    taken = _held_cuts(first, verify=proved and all(each.keeper.auditing for each in first.pairs))  # on the way back none runs
    return [taken[each.run_id] for each in worlds]


def clear_audits(world: World, reason: str) -> str:
    """Somebody takes responsibility for what audits found: that of each pair begins anew at a cut of now; in words, of the first."""
    said = [each.keeper.clear(reason, cut) for each, cut in zip(world.pairs, cuts(world.pairs, proved=False), strict=True)]
    return said[0]


def _held_cuts(world: World, *, verify: bool) -> dict[str, Cut]:
    tries = world.history.tries.get(HELD_CUT, 0)
    if tries >= world.plan.budgets.flip_attempts:
        raise AttemptsSpent(
            f"{tries} attempts to hold the producers for a cut were undone",
            why="The plan allows no more of them without a person.",
            attempts=tries,
        )
    return Attempt(world, world.pair.mode).take_cuts(verify=verify)


def settle(world: World) -> str:
    """After a restart: an attempt that nobody decided is undone; says what was found, or nothing."""
    hold = world.pair.hold
    if hold is None:
        return ""
    state = world.pair
    world.log.call(Release(type=state.mode.value, pair=state.pair, term=hold.term, epoch=state.epoch))
    return f"term {hold.term} was left open: producers go on in {state.mode}"


def side_of(mode: Mode) -> Side:
    """The side that producers write in a mode; in DUAL the one whose positions count."""
    return Side.TARGET if mode is Mode.TARGET else Side.SOURCE
