"""A deposed driver may still say HOLD and its undoing, for those need no fence: every short history of two drivers is tried.

The one in charge releases only after everybody has answered its own HOLD. Whatever the other one says meanwhile, an epoch begins
only while everybody who had joined stands still for exactly that term.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cutover.protocol import Ack, ControlState, Cut, Expired, Hold, Join, Mode, Pair, Record, Release, Role, Topic

PAIR = "p"
INSTANCES = ("a", "b")
CUT = Cut(source={0: 1}, target={0: 1})
DEPTH = 8


@dataclass(frozen=True)
class World:
    """The log as everybody has it, and what is known of nobody else."""

    log: ControlState
    term: int = 0
    """Of the HOLD that the driver in charge has said; 0: none."""
    stands: frozenset[tuple[str, int]] = frozenset()
    """Instances that stand still since they acknowledged this term."""
    release: str = ""

    def heard(self, record: Record) -> "World":
        log = self.log.then(self.log.after, record)
        hold = log.pairs[PAIR].hold
        still = frozenset(each for each in self.stands if hold is not None and hold.term == each[1])  # the others go on writing
        return replace(self, log=log, stands=still)


def begin() -> World:
    topics = [Topic(name=name, id=name, partitions=1) for name in ("s", "t")]
    log = ControlState().then(0, Pair(pair=PAIR, run="r", source=topics[0], target=topics[1], partitioner="murmur2"))
    for number, name in enumerate(INSTANCES):
        log = log.then(number + 1, Join(instance=name, session=name, topic="s", role=Role.PRODUCER))
    return World(log)


def hold(term: int) -> Hold:
    return Hold(pair=PAIR, term=term, epoch=1, to=Mode.TARGET, budget_ms=1000)


def undo(term: int) -> Release:
    return Release(type="SOURCE", pair=PAIR, term=term, epoch=0)


def steps(now: World) -> Iterator[tuple[str, World]]:
    """Everything that may happen next."""
    state = now.log.pairs[PAIR]
    open_term = state.hold.term if state.hold is not None else 0
    yield "the deposed holds", now.heard(hold(state.term + 1))
    if open_term:
        yield "the deposed undoes", now.heard(undo(open_term))
        for name in INSTANCES:
            yield f"{name} gives up", now.heard(Expired(instance=name, pair=PAIR, term=open_term))
            if (name, open_term) not in now.stands:
                acked = now.heard(Ack(instance=name, pair=PAIR, term=open_term))
                yield f"{name} stands", replace(acked, stands=acked.stands | {(name, open_term)})
    if not now.term:
        yield "in charge: hold", replace(now.heard(hold(state.term + 1)), term=state.term + 1)
    elif open_term == now.term and not now.log.missing(PAIR):
        released = Release(type="TARGET", pair=PAIR, term=now.term, epoch=1, cut=CUT)
        yield "in charge: release", replace(now.heard(released), release="seen")
        for name, late in list(steps_of_the_deposed(now)):  # it may say something before the release is in the log
            yield f"{name}, then the release", replace(late.heard(released), release="late")
    elif open_term != now.term:
        yield "in charge: gives the attempt up", replace(now, term=0)


def steps_of_the_deposed(now: World) -> Iterator[tuple[str, World]]:
    state = now.log.pairs[PAIR]
    yield "the deposed holds", now.heard(hold(state.term + 1))
    yield "the deposed undoes", now.heard(undo(now.term))


def test_an_epoch_begins_only_while_everybody_stands_for_its_own_term() -> None:
    frontier, seen, begun, void = [begin()], 0, 0, 0
    for _ in range(DEPTH):
        following = []
        for now in frontier:
            for what, then in steps(now):
                seen += 1
                if then.release:
                    began = then.log.pairs[PAIR].epoch == 1
                    begun += began
                    void += not began
                    assert not began or {name for name, term in now.stands if term == now.term} == set(INSTANCES), what
                    assert began is (then.release == "seen"), "what the deposed said first makes the release void"
                else:
                    following.append(then)
        frontier = list({_key(each): each for each in following}.values())
    assert seen > 1_500
    assert begun > 5
    assert void > 5


def _key(world: World) -> tuple[object, ...]:
    """What makes two histories alike, but for how long they are."""
    state = world.log.pairs[PAIR]
    open_term = state.hold.term if state.hold is not None else 0
    return (state.term, open_term, frozenset(state.hold.acks) if state.hold else None, world.term, world.stands)
