"""The primed groups of a run: what is waited for in words, what the journal hears, and what a person has to decide."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cutover.connection import Connection
from cutover.errors import TargetReadEarly
from cutover.model import Committed, GroupType, TopicPartition
from cutover.plan import Group
from cutover.priming import Hand, Standing
from cutover.protocol import GroupState, Side, Topic
from cutover.switches.primers import GroupPrimers
from cutover.twin import Twin, TwinMember
from cutover.world import Translated, World
from tests.unit.switches.test_priming import TwinHand

GROUP = Group(name="g", owner="team-search", switch="primed", hand_off="at_least_once")
THERE = [TopicPartition("t", q) for q in range(2)]
HERE = TopicPartition("s", 0)


@dataclass
class Scene:
    """A pair in a twin, and as much of a world as primers look at."""

    gated: bool = False
    twin: Twin = field(default_factory=lambda: Twin(seed=5))
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    unsettled: dict[str, Any] = field(default_factory=dict)
    back: bool = False
    held: object = None
    primers: GroupPrimers = field(init=False)

    def __post_init__(self) -> None:
        for name, partitions in (("s", 1), ("t", 2)):
            self.twin.create_topic(name, partitions, replication_factor=1)
        self.primers = self.start()

    def start(self) -> GroupPrimers:
        made = GroupPrimers(self.world(), Connection.of({"bootstrap.servers": "nowhere:1"}), gated=self.gated)
        made._open = self.open_hand  # type: ignore[method-assign, assignment]
        self.primers = made
        return made

    def open_hand(self, _world: World, group: Group, name: str) -> Hand:
        return TwinHand(self.twin, f"cutover.driver.S.gate.{group.name}.{name}", 20.0)

    def world(self) -> World:
        topics = {Side.SOURCE: Topic(name="s", id="S", partitions=1), Side.TARGET: Topic(name="t", id="T", partitions=2)}
        told = SimpleNamespace(
            plan=SimpleNamespace(cutover="run", groups=[GROUP], prime=SimpleNamespace(interval=0.0)),
            cluster=self.twin,
            run_id="0123456789abcdef",
            source=topics[Side.SOURCE],
            topic=topics.__getitem__,
            pair=SimpleNamespace(hold=self.held, group=lambda _: GroupState()),
            history=SimpleNamespace(done={}, unsettled=self.unsettled, standing=SimpleNamespace(goal=SimpleNamespace(back=self.back))),
            translator=SimpleNamespace(translate=self.translate, verify=lambda _: None),
            fact=self.facts.get,
            latest=lambda _: {},
            act=self.act,
            record=lambda _kind, step, body: self.facts.update({step: body}),
            reader=self.twin,
        )
        return cast("World", told)

    def translate(self, side: Side, given: Mapping[int, int], **_: object) -> Translated:
        return Translated(side, given, dict.fromkeys(range(2), given[0]), 0, 0, final=True)

    @contextmanager
    def act(self, step: str, **intent: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        self.unsettled[step] = intent
        evidence: dict[str, Any] = {}
        yield evidence
        self.facts[step] = evidence
        del self.unsettled[step]

    def reading(self) -> TwinMember:
        member = self.twin.join("g", ["s"], GroupType.CLASSIC)
        member.commit({HERE: Committed(7)})
        return member

    def waits(self) -> str:
        return self.primers.waits_for(self.world(), GROUP, Side.TARGET)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.primers.tick(self.world())

    def standing(self) -> object:
        return self.primers.document()["g"]["standing"]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_words_follow_the_group_from_the_seed_to_its_arrival(scene: Scene) -> None:
    member = scene.reading()
    assert scene.waits() == "g: a position on every partition of t"
    scene.tick()
    assert scene.waits() == "team-search to redeploy g: twin at /127.0.0.1 still reads s"
    member.close()
    scene.tick(2)
    assert scene.waits() == "team-search to redeploy g: no member reads t yet"
    scene.twin.join("g", ["t"], GroupType.CLASSIC)
    scene.tick()
    assert scene.waits() == ""
    evidence = scene.primers.finish(scene.world(), GROUP, Side.TARGET)
    assert (evidence["side"], evidence["positions"], evidence["duplicates"]) == ("TARGET", {"0": 7, "1": 7}, 0)
    assert scene.primers.document() == {}


def test_side_by_side_the_number_read_again_is_counted_afterwards(scene: Scene) -> None:
    member = scene.reading()
    scene.waits()
    scene.tick()
    scene.twin.join("g", ["t"], GroupType.CLASSIC)
    scene.tick()
    assert "still reads s" in scene.waits()
    member.close()
    assert scene.waits() == ""
    evidence = scene.primers.finish(scene.world(), GROUP, Side.TARGET)
    assert evidence["counted"] == "afterwards"
    assert evidence["duplicates"] == 0


def test_nothing_is_asked_of_the_cluster_while_producers_are_held(scene: Scene) -> None:
    scene.reading()
    scene.waits()
    scene.held = object()
    scene.tick(3)
    assert scene.standing() == "unseeded"


def test_members_that_read_before_any_position_was_there_are_for_a_person(scene: Scene) -> None:
    scene.reading()
    scene.twin.join("g", ["t"], GroupType.CLASSIC)
    scene.waits()
    scene.tick()
    with pytest.raises(TargetReadEarly, match=r"twin at /127\.0\.0\.1"):
        scene.waits()


def test_trouble_is_told_with_what_is_waited_for(scene: Scene) -> None:
    scene.twin.join("g", ["s"], GroupType.CLASSIC)
    scene.waits()

    def fail(*_: object, **__: object) -> Translated:
        raise TargetReadEarly("the mirror stands still")

    scene.primers._primed["g"].primer.translate = fail
    scene.tick()
    assert scene.waits() == "g: a position on every partition of t (the mirror stands still)"


def test_the_release_is_journalled_and_a_later_driver_does_not_prime_again() -> None:
    scene = Scene(gated=True)
    member = scene.reading()
    scene.waits()
    scene.tick()
    member.close()
    newcomer = scene.twin.join("g", ["t"], GroupType.CLASSIC)
    scene.tick(2)
    assert scene.facts["release:g:0"]["ours"] == [0, 1]
    newcomer.commit({THERE[0]: Committed(9)})
    scene.start()
    assert scene.waits() == ""
    scene.tick()
    assert scene.standing() == Standing.RELEASED
    assert scene.primers.finish(scene.world(), GROUP, Side.TARGET)["positions"] == {"0": 7, "1": 7}


def test_members_that_do_not_wait_at_the_gate_are_accepted_only_by_a_person() -> None:
    scene = Scene(gated=True)
    member = scene.reading()
    scene.waits()
    scene.tick()
    scene.twin.join("g", ["t"], GroupType.CLASSIC).commit({THERE[1]: Committed(8)})
    member.close()
    scene.tick(2)
    assert scene.waits() == ""
    with pytest.raises(TargetReadEarly, match="did not wait at the gate"):
        scene.primers.finish(scene.world(), GROUP, Side.TARGET)
    scene.facts["start:g:0"] = {"confirmed": "started"}
    assert scene.primers.finish(scene.world(), GROUP, Side.TARGET)["early"][0]["partition"] == 1


def test_a_group_that_is_to_go_back_is_primed_the_other_way(scene: Scene) -> None:
    scene.reading()
    scene.waits()
    scene.tick()
    scene.back = True
    scene.tick()
    assert scene.primers.document() == {}


def test_a_group_that_is_asked_back_is_primed_the_other_way(scene: Scene) -> None:
    scene.reading()
    scene.waits()
    scene.facts["wanted:g"] = {"side": "SOURCE"}
    scene.tick()
    assert not scene.primers.document()
    scene.facts["wanted:g"] = {"side": "TARGET"}
    scene.waits()
    scene.tick()
    assert scene.primers.document()
