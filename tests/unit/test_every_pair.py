"""Several pairs as one run: what the journal tells each of them, and what is seen of all of them together."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cutover.history import Body, History, told_to
from cutover.lifecycle import Order, Seen, Stage
from cutover.prices import Price
from cutover.stages.every_pair import EveryPair, seen_together
from cutover.world import World

DONE, DUE, WAITS, ASKS = Seen(done=True), Seen(done=False), Seen(done=False, waits_for="a"), Seen(done=False, waits_for="b", on_person=True)


@dataclass(frozen=True)
class Entry:
    kind: str
    step: str
    body: Body
    stage: str = "provisioned"


ENTRIES = [
    Entry("outcome", "create_target", {"topic_id": "one"}),
    Entry("intent", "two/create_target", {}),
    Entry("outcome", "two/create_target", {"topic_id": "two"}),
    Entry("outcome", "flip", {"term": 1}),
    Entry("decision", "pause", {"paused": "by a test"}),
    Entry("state", "advance", {"stage": "synchronizing", "trigger": "advance"}),
]


def test_each_pair_is_told_its_own_steps_and_where_the_run_stands() -> None:
    first, second = (History.of(Order.GROUPS_FIRST, told_to(scope, ENTRIES)) for scope in ("", "two/"))
    assert first.facts["create_target"] == {"topic_id": "one"}
    assert second.facts == {"create_target": {"topic_id": "two"}}
    assert (second.counts, second.done) == ({"create_target": 1}, {"create_target": 1})
    assert [each.standing.stage for each in (first, second)] == [Stage.SYNCHRONIZING] * 2
    assert [each.standing.paused for each in (first, second)] == ["by a test"] * 2


def test_what_one_pair_writes_is_told_to_it_and_to_the_first_alone() -> None:
    written: list[Entry] = []

    def write(kind: str, stage: str, step: str, body: Body, /) -> Entry:
        written.append(Entry(kind, step, body, stage))
        return written[-1]

    worlds = tuple(made(scope, write) for scope in ("", "two/", "three/"))
    for each in worlds:
        each.together = worlds
    worlds[1].record("outcome", "create_target", {"topic_id": "two"})
    worlds[0].record("outcome", "flip", {"term": 1})
    assert [each.step for each in written] == ["two/create_target", "flip"]
    assert worlds[1].fact("create_target") == {"topic_id": "two"}
    assert [each.fact("create_target") for each in (worlds[0], worlds[2])] == [None, None]
    assert [each.fact("flip") for each in worlds] == [{"term": 1}, None, None]
    worlds[2].record("decision", "pause", {"paused": "x"})
    assert {each.history.standing.paused for each in worlds} == {"x"}


def made(scope: str, write: Any) -> World:  # noqa: ANN401
    world = object.__new__(World)
    world.scope, world.write, world.together = scope, write, ()
    world.history = History.of(Order.GROUPS_FIRST, [])
    return world


@pytest.mark.parametrize(
    ("seen", "as_one"),
    [
        ([DONE, DONE], DONE),
        ([DONE, DUE], DUE),
        ([WAITS, DUE], DUE),
        ([DONE, WAITS], WAITS),
        ([WAITS, ASKS], Seen(done=False, waits_for="a; b")),
        ([ASKS, DONE], ASKS),
        ([WAITS, WAITS], WAITS),
    ],
)
def test_a_stage_is_done_when_it_is_for_all_and_waits_when_all_that_are_left_do(seen: list[Seen], as_one: Seen) -> None:
    assert seen_together(seen) == as_one


@dataclass
class Recorded:
    """A stage that writes down for whom it acted."""

    seen: dict[str, Seen]
    acted: list[str] = field(default_factory=list)

    def check(self, world: World) -> None:
        self.acted.append(f"check {world.source.name}")

    def done(self, world: World) -> Seen:
        return self.seen[world.source.name]

    undone = done

    def apply(self, world: World) -> Body:
        self.acted.append(world.source.name)
        return {}

    undo = apply

    def price(self, world: World) -> Price:
        return Price(words=(world.source.name,), hold_seconds=1.0)


def several(*names: str) -> World:
    worlds = [SimpleNamespace(source=SimpleNamespace(name=name)) for name in names]
    return cast("World", SimpleNamespace(pairs=worlds))


@pytest.mark.parametrize("act", ["apply", "undo"])
def test_only_pairs_that_have_something_to_do_act(act: str) -> None:
    stage = Recorded({"a": DONE, "b": DUE, "c": WAITS})
    getattr(EveryPair(stage), act)(several("a", "b", "c"))
    assert stage.acted == ["b"]


def test_every_pair_is_checked_and_prices_add_up() -> None:
    stage = Recorded({})
    EveryPair(stage).check(several("a", "b"))
    assert stage.acted == ["check a", "check b"]
    assert EveryPair(stage).price(several("a", "b")) == Price(words=("a", "b"), hold_seconds=2.0)
