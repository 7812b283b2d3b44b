"""The stage `checked`: it looks, journals everything it found, and stops while something stands in the way."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cutover.errors import PreflightRed
from cutover.history import Body, History, Told
from cutover.lifecycle import Order
from cutover.plan import Plan
from cutover.prices import Price
from cutover.protocol import ControlState, Topic
from cutover.stages import checked
from cutover.world import World
from tests.unit.preflight.scene import Scene, plan


@dataclass
class Journal:
    """What was written and what was told, in order."""

    entries: list[Told] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def write(self, kind: str, stage: str, step: str, body: Body, /) -> Told:
        self.entries.append(Told(kind, stage, step, body))
        return self.entries[-1]


def world_of(scene: Scene, journal: Journal, wanted: Plan) -> World:
    found = scene.twin.describe_topics(["orders"])["orders"]
    return World(
        plan=wanted,
        plan_digest="",
        cluster_id="twin",
        operator="nobody",
        source=Topic(name=found.name, id=found.topic_id, partitions=3),
        cluster=scene.twin,
        reader=scene.twin,
        hand=cast("Any", None),
        log=cast("Any", SimpleNamespace(state=ControlState())),
        history=History.of(Order.GROUPS_FIRST, journal.entries),
        write=journal.write,
        tell=journal.told.append,
        has_control=False,
    )


def test_it_is_done_once_a_look_found_nothing_in_the_way_and_everything_found_is_journalled() -> None:
    journal = Journal()
    world = world_of(Scene(), journal, plan())
    assert not checked.done(world).done
    checked.apply(world)
    assert checked.done(world).done
    [intent, outcome] = journal.entries
    assert (intent.kind, outcome.kind, outcome.body["in_the_way"]) == ("intent", "outcome", [])
    assert "CUT-PRE-017" in {each["id"] for each in outcome.body["findings"]}
    assert any("CUT-PRE-017" in words for words in journal.told)


def test_it_stops_with_every_finding_that_stands_in_the_way_and_is_not_done() -> None:
    journal = Journal()
    world = world_of(Scene(replicas=1), journal, plan(partitioner="crc32"))
    with pytest.raises(PreflightRed) as stopped:
        checked.apply(world)
    assert {each["id"] for each in stopped.value.fields["findings"]} == {"CUT-PRE-004", "CUT-PRE-015"}
    assert (stopped.value.exit_code, "CUT-PRE-004" in stopped.value.what) == (4, True)
    assert journal.entries[-1].body["in_the_way"] == ["CUT-PRE-004", "CUT-PRE-015"]
    assert not checked.done(world).done


def test_an_acknowledged_finding_stops_nothing() -> None:
    journal = Journal()
    world = world_of(Scene(replicas=1), journal, plan(acknowledged=["CUT-PRE-015"]))
    checked.apply(world)
    assert checked.done(world).done


def test_a_target_that_the_journal_says_is_this_runs_is_none_of_its_findings() -> None:
    scene = Scene()
    made = scene.twin.create_topic("orders.v2", 12, replication_factor=3)
    assert "CUT-PRE-001" in {each.id for each in checked.examine(world_of(scene, Journal(), plan()))}
    journal = Journal([Told("outcome", "provisioned", "create_target", {"topic_id": made.topic_id})])
    assert "CUT-PRE-001" not in {each.id for each in checked.examine(world_of(scene, journal, plan()))}


def test_it_touches_nothing_so_undoing_it_is_nothing() -> None:
    world = world_of(Scene(), Journal(), plan())
    checked.check(world)
    assert checked.undone(world).done
    assert (checked.undo(world), checked.price(world)) == ({}, Price())
