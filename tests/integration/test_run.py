"""A run from planned to completed, and back from every stage, on a real Kafka; no applications take part here."""

from pathlib import Path

import pytest

from cutover import opening
from cutover.errors import UnknownTopic
from cutover.lifecycle import SEQUENCE, Order, Stage
from cutover.model import Isolation
from cutover.protocol import Mode
from tests.cutting import Cutting
from tests.judge import compare_topics

pytestmark = pytest.mark.kafka
RECORDS = 3000


@pytest.mark.parametrize("order", list(Order))
def test_a_topic_that_nobody_uses_goes_all_the_way(order: Order, bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, order=order.value, strategy="dual_write" if order is Order.BOTH_FIRST else "mirror")
    cutting.write(RECORDS)
    with cutting.world() as opened:
        halt = cutting.drive(opened)
        assert (halt.exit_code, halt.why) == (0, "completed is done")
        assert opened.world.pair.mode is Mode.TARGET
        assert opened.world.pair.closed
        configs = opened.world.cluster.topic_configs([cutting.source, cutting.target])
        assert not configs[cutting.source]["retention.ms"].explicit
        assert not configs[cutting.target]["retention.ms"].explicit
    assert compare_topics(bootstrap, cutting.source, cutting.target, RECORDS) == []


@pytest.mark.parametrize(
    ("strategy", "stage"),
    [
        *(("mirror", each) for each in SEQUENCE[Order.GROUPS_FIRST][1:-1]),
        ("dual_write", Stage.DUAL_WRITING),
        *(pytest.param("dual_write", each, marks=pytest.mark.slow) for each in SEQUENCE[Order.BOTH_FIRST][7:-2]),
        ("dual_write", Stage.SOAKING),
    ],
)
def test_from_every_stage_there_is_a_way_back_to_the_start(strategy: str, stage: Stage, bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, strategy=strategy)
    cutting.write(RECORDS)
    with cutting.world() as opened:
        before = opened.world.cluster.topic_configs([cutting.source])[cutting.source]
        assert cutting.drive(opened, stage).exit_code == 0
        halt = cutting.back(opened)
        assert (halt.exit_code, halt.why) == (6, "rolled back to planned")
        assert not opened.world.paired
        assert opened.world.cluster.topic_configs([cutting.source])[cutting.source] == before
        with pytest.raises(UnknownTopic):
            opened.world.cluster.describe_topics([cutting.target])
        ends = opened.world.cluster.end_offsets(
            opened.world.cluster.describe_topics([cutting.source])[cutting.source].topic_partitions(), Isolation.READ_COMMITTED
        )
        assert sum(ends.values()) >= RECORDS


def test_after_a_rollback_the_same_plan_goes_forward_again(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path)
    cutting.write(RECORDS)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SOAKING)
        cutting.back(opened)
        cutting.write(100, prefix="later-")
        assert cutting.drive(opened).why == "completed is done"


def test_there_and_back_and_there_again_keeps_both_topics_equal(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting.of(bootstrap, tmp_path)
    cutting.write(RECORDS)
    with cutting.world() as opened:
        for number in range(2):
            cutting.drive(opened, Stage.SOAKING)
            assert opened.world.pair.mode == "TARGET"
            cutting.write(200, topic=cutting.target, prefix=f"there-{number}-")
            cutting.back(opened, Stage.SYNCHRONIZED)
            assert opened.world.pair.mode == "SOURCE"
            cutting.write(200, prefix=f"here-{number}-")
        assert opened.world.pair.epoch == 4
        assert cutting.drive(opened).why == "completed is done"
    assert compare_topics(bootstrap, cutting.source, cutting.target, RECORDS + 800) == []


def test_the_second_driver_is_told_who_drives(bootstrap: str, tmp_path: Path) -> None:
    from cutover.errors import LeaseHeld

    cutting = Cutting.of(bootstrap, tmp_path)
    with cutting.world(), pytest.raises(LeaseHeld, match="drives"), cutting.world():
        pass


def test_another_plan_of_the_same_name_is_refused_with_the_difference(bootstrap: str, tmp_path: Path) -> None:
    from cutover.errors import PlanChanged

    cutting = Cutting.of(bootstrap, tmp_path)
    with cutting.world():
        pass
    cutting.partitions = 12
    with pytest.raises(PlanChanged) as refused, cutting.world():
        pass
    assert "target.partitions" in str(refused.value.fields)


def test_a_cluster_without_the_source_is_refused(bootstrap: str, tmp_path: Path) -> None:
    cutting = Cutting(bootstrap, tmp_path, "no-such-topic", "no-such-topic.v2")
    with pytest.raises(UnknownTopic), opening.world(cutting.plan, cutting.connection, cutting.journal, "tester", tell=print):
        pass
