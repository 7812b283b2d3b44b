"""Strategy drain on real Kafka: nothing is copied before the flip, each group reads the source to the cut, then the target."""

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ConfluentPartition

from cutover import goals, requests
from cutover.errors import DeadlinePassed, NotReversible, StragglerFound
from cutover.lifecycle import Seen, Stage
from cutover.model import Committed, Isolation, TopicPartition
from cutover.protocol import Side
from cutover.world import World
from tests.cutting import ACCEPTED, Cutting, Patience
from tests.integration.test_moves import live_run, python, there_and_back

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
SLOW = pytest.mark.slow


@pytest.mark.parametrize("partitions", [pytest.param(24, marks=SLOW), 9], ids=["nested", "crossed"])
@pytest.mark.parametrize("library", ["sdk", pytest.param("plain", marks=SLOW)])
def test_a_group_drains_the_source_goes_to_the_target_and_comes_back(
    library: str, partitions: int, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    switch = "sdk" if library == "sdk" else "manual"
    there_and_back(live_run(bootstrap, tmp_path, ends, python(library=library), switch, partitions, strategy="drain"))


@SLOW
def test_there_and_back_twice(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    there_and_back(live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", 24, strategy="drain"), times=2)


def test_a_topic_that_has_too_many_partitions_shrinks(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", 4, source_partitions=12, allow_shrink=True, strategy="drain")
    there_and_back(live)


@pytest.mark.parametrize("partitions", [6, pytest.param(9, marks=SLOW)])
def test_a_topic_whose_keys_crc32_places_gets_one_whose_keys_murmur2_places(
    partitions: int, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", partitions, strategy="drain", partitioner="crc32")
    live.cutting.wanted["target"] = {"partitioner": "murmur2"}
    live.partitioner = "consistent_random"
    there_and_back(live)


def test_nothing_is_copied_before_the_flip_and_everything_after_it_goes_back_to_the_source(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, strategy="drain")
    cutting.write(300)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SYNCHRONIZED)
        assert records(opened.world, cutting.target) == []
        cutting.drive(opened, Stage.SWITCHING_WRITES)
        cut = opened.world.pair.cuts[1]
        assert (sum(cut.source.values()), sum(cut.target.values())) == (300, 0)
        cutting.write(200, topic=cutting.target, prefix="after-")
        cutting.drive(opened, Stage.SOAKING)
        cutting.back(opened)
        assert len(records(opened.world, cutting.source)) == 500
        assert sum(each.startswith(b"after-") for each in records(opened.world, cutting.source)) == 200
        assert cutting.target not in opened.world.cluster.topic_names()


def records(world: World, topic: str) -> list[bytes]:
    where = world.cluster.describe_topics([topic])[topic].topic_partitions()
    spans = {at: (0, end) for at, end in world.cluster.end_offsets(where, Isolation.READ_COMMITTED).items()}
    return [each.value or b"" for each in world.reader.read(spans)]


def test_without_a_way_back_nothing_is_copied_at_all_and_a_rollback_is_refused(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    live = live_run(
        bootstrap,
        tmp_path,
        ends,
        python(library="sdk"),
        "sdk",
        24,
        way_back="none",
        acknowledged=[*ACCEPTED, "CUT-PRE-016"],
        strategy="drain",
    )
    live.begin()
    with live.cutting.world() as opened:
        live.go(opened, Stage.SOAKING)
        assert not opened.world.keeper.copies
        with pytest.raises(NotReversible) as refused:
            live.cutting.back(opened)
        assert "way_back: none" in refused.value.why
        live.topic = live.cutting.target
        live.finish(opened)
    found = live.verdict()
    assert (found.lost, found.twice, found.disordered) == (0, 0, 0)


def test_without_a_way_back_a_straggler_is_found_all_the_same(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(
        bootstrap, tmp_path, strategy="drain", way_back="none", acknowledged=[*ACCEPTED, "CUT-PRE-016"], soak={"for": "3s"}
    )
    cutting.write(100)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SWITCHING_WRITES)
        cutting.write(3, prefix="late-")
        with pytest.raises(StragglerFound, match="3 records were written to"):
            cutting.drive(opened)


@pytest.mark.parametrize("way_back", ["full", "none"])
def test_a_group_that_begins_at_the_latest_record_gets_everything_from_the_cut_on(way_back: str, bootstrap: str, tmp_path: Path) -> None:
    group = f"g-{tmp_path.name[-40:]}"
    told = {"name": group, "owner": "team-test", "switch": "manual", "missing": "latest", "max_duplicates": 9}
    accepted = [*ACCEPTED, "CUT-PRE-016"]
    cutting = Cutting.of(bootstrap, tmp_path, groups=[told], strategy="drain", way_back=way_back, acknowledged=accepted)
    cutting.write(300)
    with cutting.world() as opened:
        world = opened.world
        first = TopicPartition(cutting.source, 0)
        end = world.cluster.end_offsets([first], Isolation.READ_COMMITTED)[first]
        # It has read one partition, and nothing came to the others.
        member = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        member.commit(offsets=[ConfluentPartition(*first, end)], asynchronous=False)
        member.close()
        cutting.drive(opened, Stage.SWITCHING_WRITES)
        cutting.write(60, topic=cutting.target, prefix="after-")

        class Owner(Patience):
            def wait(self, seconds: float) -> bool:
                return super().wait(seconds) or f"members of {group}" in self.last

            def see(self, world: World, seen: Seen | None) -> None:
                super().see(world, seen)
                for word in ("stopped", "started"):
                    if seen is not None and f"{group} {word}" in seen.waits_for:
                        cutting.write(10, topic=cutting.target, prefix="later-")
                        requests.VERBS["confirm"](world, {"subject": group, "word": word}, "tester")

        goals.go_forward(world, Stage.MOVING_GROUPS)
        opened.driver((owner := Owner(60.0)).wait, owner.see).drive()
        where = world.cluster.describe_topics([cutting.target])[cutting.target].topic_partitions()
        assert world.cluster.committed([group], where)[group] == {at: Committed(0, mark) for at, mark in marks(world, group, where).items()}


def marks(world: World, group: str, where: Collection[TopicPartition]) -> dict[TopicPartition, str]:
    told = world.cluster.committed([group], where)[group]
    return {at: each.metadata for at, each in told.items() if isinstance(each, Committed)}


def test_whatever_is_asked_is_answered_and_a_refusal_does_not_stand_in_the_way_of_the_next(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, strategy="drain")
    cutting.write(30)
    asked = [
        ("rate", {"rate": "5000/s"}),
        ("clear", {"reason": "none"}),
        ("price", {"to": "soaking"}),
        ("price", {"group": "nobody", "to": "SOURCE"}),
        ("confirm", {"subject": "nobody", "word": "stopped"}),
        ("forget", {"instance": "nobody", "reason": "none"}),
        ("nonsense", {}),
        ("resume", {}),
    ]
    with cutting.world() as opened:
        journal = opened.tenure._journal
        for stage in (Stage.CHECKED, Stage.SYNCHRONIZED):
            numbers = [journal.ask(cutting.plan.cutover, verb, body, "tester").id for verb, body in asked]
            cutting.drive(opened, stage)
            outcomes = [found.outcome for number in numbers if (found := journal.answered(number)) is not None]
            assert [set(each or ()) for each in outcomes] == [{"refused"}] * 7 + [{"done"}]


def test_a_group_that_does_not_drain_is_told_and_never_moved(bootstrap: str, tmp_path: Path) -> None:
    group: dict[str, Any] = {
        "name": f"g-{tmp_path.name[-40:]}",
        "owner": "team-test",
        "switch": "manual",
        "missing": "earliest",
        "max_duplicates": 9,
    }
    cutting = Cutting.of(bootstrap, tmp_path, groups=[group], budgets={"stage": "8s"}, strategy="drain")
    cutting.write(300)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SWITCHING_WRITES)
        with pytest.raises(DeadlinePassed, match=r"to read .* up to the cut: 300 offsets left, it has not come closer"):
            cutting.drive(opened, Stage.MOVING_GROUPS)
        assert opened.world.pair.group(group["name"]).side is Side.SOURCE


def test_a_target_that_somebody_writes_before_the_flip_stops_it(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, strategy="drain")
    cutting.write(100)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SYNCHRONIZED)
        early = Producer({"bootstrap.servers": bootstrap})
        early.produce(cutting.target, b"early")
        assert early.flush(30) == 0
        with pytest.raises(StragglerFound, match="before the writes were switched"):
            cutting.drive(opened, Stage.SWITCHING_WRITES)
        assert opened.world.pair.hold is None
