"""The control log of a pair: its records, and what they mean in the order they stand there. Pure; docs/protocol.md is its page.

One topic of one partition. The driver and the instances (producers and consumers of the client library) write to the same
log, since its order decides: everybody who has read the same records holds the same `ControlState`. Nobody guesses.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

CONTROL_TOPIC = "_cutover.control"
DUAL_ID = "cutover.dual."
"""Before the name, in the transactional.id under which an instance writes both topics."""
NOTHING_ASKED = 0
"""The term of an ACK that changes nothing: terms begin at 1."""
Offsets = Mapping[int, int]
"""Partition to offset."""


class Mode(StrEnum):
    """Where producers write. Between two of them producers are held."""

    SOURCE = "SOURCE"
    TARGET = "TARGET"
    DUAL = "DUAL"


class Side(StrEnum):
    """One topic of a pair."""

    SOURCE = "SOURCE"
    TARGET = "TARGET"

    @property
    def other(self) -> "Side":
        """The opposite one."""
        return Side.TARGET if self is Side.SOURCE else Side.SOURCE


class Role(StrEnum):
    """What an instance does with its topic."""

    PRODUCER = "producer"
    CONSUMER = "consumer"


class Told(BaseModel):
    """Part of a record: frozen, tolerant of fields that are new."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Topic(Told):
    """A topic of a pair; another id means another topic."""

    name: str
    id: str
    partitions: int


class Cut(Told):
    """Below both vectors the two topics hold the same records."""

    source: Offsets
    target: Offsets

    def on(self, side: Side) -> Offsets:
        """The vector of a side."""
        return self.source if side is Side.SOURCE else self.target


class With(Told):
    """A further pair that a record is about."""

    pair: str


class Another(With):
    """The same of a HOLD or its release; `cut` only in a release that has one."""

    epoch: int
    cut: Cut | None = None


class Message(Told):
    """A record of the control log. Version 2 are those about several pairs: who knows only one of them must stop there."""

    v: Literal[1, 2] = 1
    type: str

    @model_validator(mode="after")
    def _has_its_version(self) -> Self:
        if (self.v == 2) != bool(getattr(self, "also", None)):
            raise ValueError("version 2 are the records about several pairs, and no others")
        return self

    def encoded(self) -> bytes:
        """The record's value: JSON in UTF-8, without what is not set."""
        return self.model_dump_json(exclude_none=True).encode()


class Pair(Message):
    """The driver opens a pair: mode SOURCE, epoch 0, every group on SOURCE."""

    type: Literal["PAIR"] = "PAIR"
    pair: str
    run: str
    source: Topic
    target: Topic
    partitioner: str
    target_partitioner: str | None = None
    """Of the target, where it is another one: whoever writes it places keys by this."""
    null_keys: str = "keep_partition"


class Hold(Message):
    """The driver asks producers to stop, flush and acknowledge. `epoch` begins if the attempt succeeds, in the mode `to`.

    `also` names the other pairs that are held with this one, and are released with it or not at all.
    """

    type: Literal["HOLD"] = "HOLD"
    pair: str
    term: int
    epoch: int
    to: Mode
    budget_ms: int
    also: tuple[Another, ...] | None = None

    @property
    def epochs(self) -> Mapping[str, int]:
        """The epoch of each pair that it is about."""
        return {self.pair: self.epoch} | {each.pair: each.epoch for each in self.also or ()}


class Release(Message):
    """The driver lets producers go on in a mode. With a cut it began an epoch; without one the attempt was undone.

    With a cut it names every pair of its HOLD, each with its own; without one it ends the whole of it.
    """

    type: Literal["SOURCE", "TARGET", "DUAL"]
    pair: str
    term: int
    epoch: int
    cut: Cut | None = None
    also: tuple[Another, ...] | None = None

    @property
    def begun(self) -> Mapping[str, tuple[int, Cut | None]]:
        """The epoch and the cut of each pair that it is about."""
        return {self.pair: (self.epoch, self.cut)} | {each.pair: (each.epoch, each.cut) for each in self.also or ()}


class Stop(Message):
    """The driver asks every member of a group to stop, commit and acknowledge; `also` in other pairs that it reads."""

    type: Literal["STOP"] = "STOP"
    pair: str
    group: str
    term: int
    budget_ms: int
    also: tuple[With, ...] | None = None

    @property
    def pairs(self) -> frozenset[str]:
        """Every pair that it is about."""
        return frozenset({self.pair, *(each.pair for each in self.also or ())})


class Until(Message):
    """The driver asks the stopped members to read on to these offsets of the side they are on, then to acknowledge again.

    The budget begins anew, with this one if it is given.
    """

    type: Literal["UNTIL"] = "UNTIL"
    pair: str
    group: str
    term: int
    offsets: Offsets
    budget_ms: int | None = None


class Read(Message):
    """The driver lets a group go on, on a side. To another one it names every pair of its STOP; of the same one it ends the whole of it."""

    type: Literal["READ"] = "READ"
    pair: str
    group: str
    term: int
    side: Side
    also: tuple[With, ...] | None = None

    @property
    def pairs(self) -> frozenset[str]:
        """Every pair that it is about."""
        return frozenset({self.pair, *(each.pair for each in self.also or ())})


class Close(Message):
    """The driver is done with a pair: whoever is configured with one of its topics stays where the log put it."""

    type: Literal["CLOSE"] = "CLOSE"
    pair: str


class Join(Message):
    """An instance is there. It obeys what stands before this record, and is expected to acknowledge what comes after it."""

    type: Literal["JOIN"] = "JOIN"
    instance: str
    session: str
    topic: str
    role: Role
    group: str | None = None
    client_id: str = ""
    host: str = ""
    partitioner: str | None = None
    transactional_id: str | None = None
    library: str = ""


class Leave(Message):
    """An instance is gone, after its last record was acknowledged. With `by` a person says so instead of it."""

    type: Literal["LEAVE"] = "LEAVE"
    instance: str
    session: str | None = None
    offsets: Offsets = {}
    by: str | None = None
    reason: str | None = None


class Ack(Message):
    """An instance has stopped for a term.

    Producers: the last acknowledged offset of each partition they wrote, of the primary. Consumers: the positions they
    committed, of the partitions they hold. With a `problem` it has stopped, and must not be switched.
    """

    type: Literal["ACK"] = "ACK"
    instance: str
    pair: str
    term: int
    offsets: Offsets = {}
    until: bool = False
    problem: str | None = None


class Expired(Message):
    """The budget of a term passed at an instance without a word: unless the release stands before this, the attempt is undone."""

    type: Literal["EXPIRED"] = "EXPIRED"
    instance: str
    pair: str
    term: int


Change = Hold | Release | Stop | Until | Read | Close | Ack | Expired
Record = Pair | Change | Join | Leave
_RECORD: TypeAdapter[Record] = TypeAdapter(
    Annotated[Union[Pair, Hold, Release, Stop, Until, Read, Close, Join, Leave, Ack, Expired], Field(discriminator="type")]  # noqa: UP007
)


class UnreadableRecordError(ValueError):
    """A record is none of the protocol's: whoever meets one cannot know what it missed, and stops."""


def parse(value: bytes | None) -> Record:
    """The record with this value; UnreadableRecordError otherwise."""
    try:
        return _RECORD.validate_json(value or b"")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UnreadableRecordError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@dataclass(frozen=True, slots=True)
class Instance:
    """A producer or consumer that has joined and not left."""

    name: str
    joined: Join
    at: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A HOLD or STOP that is not decided: since which offset, and who has answered. `pairs` are asked by the same record."""

    term: int
    at: int
    budget_ms: int
    to: Mode | None = None
    epoch: int | None = None
    pairs: frozenset[str] = frozenset()
    until: Offsets | None = None
    until_at: int = -1
    acks: Mapping[str, Ack] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupState:
    """Where a group reads, how often it was moved, and what it was asked.

    A group that was moved starts from positions that the driver wrote: no member may fall back on a reset policy.
    """

    side: Side = Side.SOURCE
    moves: int = 0
    stop: Asked | None = None


@dataclass(frozen=True, slots=True)
class PairState:
    """A pair as the log has it. `outcomes` says of each ended term how it ended, `modes` of each epoch what producers wrote in it."""

    told: Pair
    at: int
    mode: Mode = Mode.SOURCE
    epoch: int = 0
    term: int = 0
    hold: Asked | None = None
    groups: Mapping[str, GroupState] = field(default_factory=dict)
    cuts: Mapping[int, Cut] = field(default_factory=dict)
    modes: Mapping[int, Mode] = field(default_factory=lambda: {0: Mode.SOURCE})
    outcomes: Mapping[int, str] = field(default_factory=dict)
    closed: bool = False

    @property
    def pair(self) -> str:
        """The pair's id."""
        return self.told.pair

    @property
    def primary(self) -> Topic:
        """The topic that producers write; in DUAL the one whose positions count."""
        return self.told.target if self.mode is Mode.TARGET else self.told.source

    @property
    def related(self) -> int:
        """The first epoch from which the records of both topics are related as they are now: by provenance, or in DUAL by stamps."""
        if self.mode is Mode.DUAL:
            return self.epoch
        return max((number + 1 for number, mode in self.modes.items() if mode is Mode.DUAL), default=0)

    def topic(self, side: Side) -> Topic:
        """The topic of a side."""
        return self.told.source if side is Side.SOURCE else self.told.target

    def group(self, name: str) -> GroupState:
        """Where a group stands; on SOURCE unless the log says otherwise."""
        return self.groups.get(name, GroupState())


@dataclass(frozen=True, slots=True)
class ControlState:
    """Everything that the log says up to an offset. `after` is the next offset to read."""

    after: int = 0
    pairs: Mapping[str, PairState] = field(default_factory=dict)
    instances: Mapping[str, Instance] = field(default_factory=dict)

    def follow(self, topic: str) -> PairState | None:
        """The pair that governs a topic name: the last that names it, or the one that goes on from where a closed one ended."""
        found = _last(each for each in self.pairs.values() if topic in {each.told.source.name, each.told.target.name})
        while found is not None and found.closed:
            here = found
            onward = (each for each in self.pairs.values() if each.at > here.at and each.told.source.name == here.primary.name)
            following = _last(onward)
            if following is None:
                break
            found = following
        return found

    def members(self, pair: str, role: Role, group: str | None = None) -> tuple[Instance, ...]:
        """The instances that a pair governs."""
        return tuple(
            each
            for each in self.instances.values()
            if each.joined.role is role
            and (role is Role.PRODUCER or each.joined.group == group)
            and (found := self.follow(each.joined.topic)) is not None
            and found.pair == pair
        )

    def successors(self, names: Collection[str]) -> tuple[Instance, ...]:
        """Who has joined after these instances, which are one, under its transactional.id."""
        own = [self.instances[each] for each in names if each in self.instances]
        ids = {each.joined.transactional_id for each in own} - {None}
        since = max((each.at for each in own), default=self.after)
        return tuple(each for each in self.instances.values() if each.joined.transactional_id in ids and each.at > since)

    def missing(self, pair: str, group: str | None = None) -> tuple[Instance, ...]:
        """Who joined before the open HOLD (or the group's STOP or UNTIL) and has not answered it."""
        state = self.pairs[pair]
        asked = state.hold if group is None else state.group(group).stop
        if asked is None:
            return ()
        role = Role.PRODUCER if group is None else Role.CONSUMER
        return tuple(
            each for each in self.members(pair, role, group) if each.at < max(asked.at, asked.until_at) and each.name not in asked.acks
        )

    def then(self, offset: int, record: Record) -> "ControlState":
        """The state after one record more. What a record cannot change any more (an ended term, an unknown pair) it does not change."""
        moved = replace(self, after=offset + 1)
        match record:
            case Join():
                return moved if self._is_joined(record) else moved._joining(Instance(record.instance, record, offset))
            case Leave():
                return moved if self._is_of_an_earlier_session(record) else moved._without(record)
            case Pair():
                return moved._with(PairState(record, offset)) if record.pair not in self.pairs else moved
            case _:
                return moved._changed(offset, record)

    def _changed(self, offset: int, record: "Change") -> "ControlState":
        """Every pair that the record names changes, or none does."""
        names = _named(record)
        before = {name: self.pairs[name] for name in names if name in self.pairs}
        after = {name: _changed(state, offset, record) for name, state in before.items()}
        if len(before) < len(names) or any(after[name] is before[name] for name in names):
            return self
        return replace(self, pairs={**self.pairs, **self._ended_together(before, after)})

    def _ended_together(self, before: Mapping[str, "PairState"], after: Mapping[str, "PairState"]) -> Mapping[str, "PairState"]:
        """What was asked in several pairs and ended in one of them has ended in all, and in the same way."""
        changed = dict(after)
        for name, state in before.items():
            still, outcomes = _open(after[name]), after[name].outcomes
            for group, asked in _open(state).items():
                if group in still and still[group].at == asked.at:
                    continue
                for other in asked.pairs - {name}:
                    found = changed.get(other, self.pairs[other])
                    here = _open(found).get(group)
                    if here is not None and here.at == asked.at:
                        changed[other] = _ended(found, group, {asked.term: outcomes[asked.term]})
        return changed

    def _is_joined(self, record: Join) -> bool:
        """A JOIN that was appended twice counts where it stands first: since then the instance obeys."""
        known = self.instances.get(record.instance)
        return known is not None and known.joined.session == record.session

    def _joining(self, instance: Instance) -> "ControlState":
        return replace(self, instances={**self.instances, instance.name: instance})

    def _is_of_an_earlier_session(self, record: Leave) -> bool:
        known = self.instances.get(record.instance)
        return known is not None and record.session is not None and record.session != known.joined.session

    def _without(self, leave: Leave) -> "ControlState":
        """A LEAVE counts as the acknowledgement of what is asked just now; its offsets are the last that the instance wrote."""
        known = self.instances.get(leave.instance)
        state = self.follow(known.joined.topic) if known is not None else None
        left = replace(self, instances={name: each for name, each in self.instances.items() if name != leave.instance})
        if known is None or state is None or state.hold is None or known.joined.role is not Role.PRODUCER:
            return left
        ack = Ack(instance=leave.instance, pair=state.pair, term=state.hold.term, offsets=leave.offsets)
        return left._with(_acknowledged(state, self.after, ack))

    def _with(self, state: PairState) -> "ControlState":
        return replace(self, pairs={**self.pairs, state.pair: state})


def _last(pairs: Iterable[PairState]) -> PairState | None:
    return max(pairs, key=lambda each: each.at, default=None)


def _named(record: "Change") -> Collection[str]:
    """The pairs that a record is about."""
    match record:
        case Hold():
            return record.epochs.keys()
        case Release():
            return record.begun.keys()
        case Stop() | Read():
            return record.pairs
        case _:
            return (record.pair,)


def _open(state: PairState) -> Mapping[str | None, Asked]:
    """What is asked of a pair and not decided: of its producers (None), and of each group by its name."""
    found: dict[str | None, Asked] = {name: group.stop for name, group in state.groups.items() if group.stop is not None}
    return found if state.hold is None else {**found, None: state.hold}


def _ended(state: PairState, group: str | None, outcomes: Mapping[int, str]) -> PairState:
    told = {**state.outcomes, **outcomes}
    if group is None:
        return replace(state, hold=None, outcomes=told)
    return replace(state, groups={**state.groups, group: replace(state.groups[group], stop=None)}, outcomes=told)


def _changed(state: PairState, offset: int, record: "Change") -> PairState:
    change: Callable[[PairState, int, Any], PairState] = _CHANGES[type(record)]
    return state if state.closed else change(state, offset, record)


def _held(state: PairState, offset: int, record: Hold) -> PairState:
    epoch = record.epochs[state.pair]
    if record.term <= state.term or epoch != state.epoch + 1:
        return state
    outcomes = dict(state.outcomes)
    if state.hold is not None:
        outcomes[state.hold.term] = "superseded"
    hold = Asked(record.term, offset, record.budget_ms, to=record.to, epoch=epoch, pairs=frozenset(record.epochs))
    return replace(state, term=record.term, outcomes=outcomes, hold=hold)


def _released(state: PairState, _: int, record: Release) -> PairState:
    """The first word after HOLD decides; with a cut the epoch begins, without one everything is as before HOLD."""
    hold = state.hold
    if hold is None or record.term != hold.term:
        return state
    epoch, cut = record.begun[state.pair]
    if record.cut is None:
        return replace(state, hold=None, outcomes={**state.outcomes, hold.term: "undone"})
    if cut is None or epoch != hold.epoch or record.type != hold.to or hold.pairs != record.begun.keys():
        return state
    return replace(
        state,
        hold=None,
        mode=Mode(record.type),
        epoch=epoch,
        cuts={**state.cuts, epoch: cut},
        modes={**state.modes, epoch: Mode(record.type)},
        outcomes={**state.outcomes, hold.term: "done"},
    )


def _stopped(state: PairState, offset: int, record: Stop) -> PairState:
    if record.term <= state.term:
        return state
    group = state.group(record.group)
    outcomes = {**state.outcomes, **({group.stop.term: "superseded"} if group.stop else {})}
    asked = replace(group, stop=Asked(record.term, offset, record.budget_ms, pairs=record.pairs))
    return replace(state, term=record.term, outcomes=outcomes, groups={**state.groups, record.group: asked})


def _read_on(state: PairState, offset: int, record: Until) -> PairState:
    group = state.group(record.group)
    if group.stop is None or group.stop.term != record.term:
        return state
    budget_ms = group.stop.budget_ms if record.budget_ms is None else record.budget_ms
    stop = replace(group.stop, until=record.offsets, until_at=offset, budget_ms=budget_ms, acks={})
    return replace(state, groups={**state.groups, record.group: replace(group, stop=stop)})


def _reading(state: PairState, _: int, record: Read) -> PairState:
    """Ends a STOP; also says by itself where a group without members of the library reads."""
    group = state.group(record.group)
    known = group.stop.term if group.stop is not None else None
    if record.term != known and (record.term <= state.term or record.also):
        return state
    crossed = record.side is not group.side
    if crossed and group.stop is not None and record.term == known and group.stop.pairs != record.pairs:
        return state
    outcomes = {**state.outcomes, **({known: "superseded"} if known is not None else {}), record.term: "done" if crossed else "undone"}
    return replace(
        state,
        term=max(state.term, record.term),
        groups={**state.groups, record.group: GroupState(record.side, group.moves + crossed)},
        outcomes=outcomes,
    )


def _acknowledged(state: PairState, _: int, record: Ack) -> PairState:
    if state.hold is not None and record.term == state.hold.term:
        return replace(state, hold=replace(state.hold, acks={**state.hold.acks, record.instance: record}))
    for name, group in state.groups.items():
        stop = group.stop
        if stop is not None and stop.term == record.term and record.until == (stop.until is not None):
            acked = replace(group, stop=replace(stop, acks={**stop.acks, record.instance: record}))
            return replace(state, groups={**state.groups, name: acked})
    return state


def _expired(state: PairState, _: int, record: Expired) -> PairState:
    outcomes = {**state.outcomes, record.term: "expired"}
    if state.hold is not None and record.term == state.hold.term:
        return replace(state, hold=None, outcomes=outcomes)
    for name, group in state.groups.items():
        if group.stop is not None and group.stop.term == record.term:
            return replace(state, groups={**state.groups, name: replace(group, stop=None)}, outcomes=outcomes)
    return state


def _closed(state: PairState, _: int, __: Close) -> PairState:
    """Whoever is held or stopped goes on where it was."""
    asked = [state.hold, *(group.stop for group in state.groups.values())]
    return replace(
        state,
        closed=True,
        hold=None,
        groups={name: replace(group, stop=None) for name, group in state.groups.items()},
        outcomes={**state.outcomes, **{each.term: "closed" for each in asked if each is not None}},
    )


_CHANGES: Mapping[type[Message], Callable[[PairState, int, Any], PairState]] = {
    Hold: _held,
    Release: _released,
    Stop: _stopped,
    Until: _read_on,
    Read: _reading,
    Ack: _acknowledged,
    Expired: _expired,
    Close: _closed,
}
"""The table of docs/protocol.md, a line each."""


def transactional_id(joined: Join, mode: Mode) -> str | None:
    """Under which transactional.id an instance writes in a mode, so that it can be shut out; None if under none."""
    return f"{DUAL_ID}{joined.transactional_id or joined.instance}" if mode is Mode.DUAL else joined.transactional_id


def problems(asked: Asked) -> dict[str, str]:
    """What instances say against being switched."""
    return {name: ack.problem for name, ack in asked.acks.items() if ack.problem}


def greatest(acks: Iterable[Ack]) -> dict[int, int]:
    """The greatest offset that anybody acknowledged, by partition."""
    found: dict[int, int] = {}
    for ack in acks:
        for partition, offset in ack.offsets.items():
            found[partition] = max(found.get(partition, -1), offset)
    return found


def document(state: ControlState) -> dict[str, Any]:
    """The state as JSON values, for the conformance suite and for status."""
    return {
        "after": state.after,
        "pairs": {
            name: {
                "mode": each.mode.value,
                "epoch": each.epoch,
                "term": each.term,
                "held": each.hold.term if each.hold else None,
                "groups": {
                    group: {"side": found.side.value, "stopped": found.stop.term if found.stop else None}
                    for group, found in each.groups.items()
                },
                "closed": each.closed,
            }
            for name, each in state.pairs.items()
        },
        "instances": {
            name: {"topic": each.joined.topic, "role": each.joined.role.value, "group": each.joined.group}
            for name, each in state.instances.items()
        },
    }
