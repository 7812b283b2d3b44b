"""What Positions and ControlLog promise: all or nothing, visible on return, refused to a deposed holder.

The twin's writer and the engine's are held to it alike.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from cutover.connection import Connection
from cutover.engine.control import Control
from cutover.errors import ProducerFenced, UnknownTopic
from cutover.model import Committed, ControlRecord, GroupType, Isolation, TopicPartition
from cutover.ports import ControlLog, Positions
from cutover.twin import Twin, TwinWriter
from tests.contract.conftest import World


class Writer(Positions, ControlLog, Protocol): ...


MakeWriter = Callable[[], Writer]
PATIENCE_SECONDS = 5.0


@pytest.fixture
def driven(world: World, request: pytest.FixtureRequest) -> Iterator[tuple[World, MakeWriter]]:
    """A world and what makes writers of one transactional id in it; the engine's processes end with the test."""
    twin = world.cluster
    if isinstance(twin, Twin):
        yield world, lambda: TwinWriter(twin)
        return
    connection, name = Connection.load(bootstrap=request.getfixturevalue("bootstrap")), world.name("driver")
    with ExitStack() as processes:
        yield world, lambda: processes.enter_context(Control(connection, world.cluster, transactional_id=name))


@pytest.mark.parametrize("kind", [GroupType.CLASSIC, GroupType.CONSUMER])
def test_positions_are_visible_on_return_for_live_and_for_empty_groups(driven: tuple[World, MakeWriter], kind: GroupType) -> None:
    world, make = driven
    writer, topic = make(), world.topic(2)
    positions = {TopicPartition(topic, each): Committed(each, f"run:1:{each}") for each in range(2)}
    live, empty = world.name("live"), world.name("empty")
    member = world.actors.join(live, [topic], kind)
    world.until(lambda: len(member.assigned()) == 2, "the member has both partitions")
    for group in (live, empty):
        writer.commit_positions(group, positions)
        assert world.cluster.committed([group], list(positions)) == {group: positions}
    assert len(member.assigned()) == 2


def test_control_records_stand_together_at_the_offsets_that_are_told(driven: tuple[World, MakeWriter]) -> None:
    world, make = driven
    writer, where = make(), world.partition()
    records = [ControlRecord(b"HOLD", b"1", (("term", b"1"), ("term", b"2"))), ControlRecord(b"HOLD", None)]
    offsets = writer.write_control(where.topic, records) + writer.write_control(where.topic, [ControlRecord(b"TARGET", b"2")])
    assert offsets == tuple(sorted(set(offsets)))
    end = world.cluster.end_offsets([where], Isolation.READ_COMMITTED)[where]
    found = list(world.reader.read({where: (0, end)}))
    assert tuple(each.offset for each in found) == offsets
    assert [ControlRecord(each.key or b"", each.value, each.headers) for each in found] == [*records, ControlRecord(b"TARGET", b"2")]


def test_a_deposed_holder_writes_nothing(driven: tuple[World, MakeWriter]) -> None:
    world, make = driven
    where, group = world.partition(), world.name("group")
    deposed, current = make(), make()
    with pytest.raises(ProducerFenced):
        deposed.commit_positions(group, {where: Committed(1)})
    with pytest.raises(ProducerFenced):
        deposed.write_control(where.topic, [ControlRecord(b"k", b"v")])
    assert world.cluster.end_offsets([where], Isolation.READ_UNCOMMITTED) == {where: 0}
    assert world.cluster.committed([group], [where]) == {group: {where: None}}
    current.commit_positions(group, {where: Committed(2)})
    assert world.cluster.committed([group], [where], patience_seconds=PATIENCE_SECONDS) == {group: {where: Committed(2)}}


def test_a_control_topic_that_is_not_there_is_named(driven: tuple[World, MakeWriter]) -> None:
    world, make = driven
    with pytest.raises(UnknownTopic):
        make().write_control(world.name("unknown"), [ControlRecord(b"k", b"v")])
