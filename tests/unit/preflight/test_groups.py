"""Rules about groups: who reads, who is planned, and where they stand."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from cutover.model import Committed, GroupDescription, GroupState, GroupType, Isolation, Member, TopicPartition
from cutover.preflight import Severity, Survey
from cutover.preflight.connect_sinks import ID as CONNECT
from cutover.preflight.group_positions import EXPIRED, MISSING, UNDECIDED
from cutover.preflight.groups_known import ABSENT, UNPLANNED, UNTOLD_TYPE
from cutover.preflight.groups_unseen import PATTERNS, UNTOLD_GROUPS
from cutover.preflight.isolation import TORN, UNCOMMITTED
from cutover.preflight.static_members import ID as STATIC
from cutover.preflight.streams_applications import ID as STREAMS
from cutover.twin import Twin
from tests.unit.preflight.scene import Scene, group, judged, plan


def with_member(seen: Survey, name: str, client_id: str) -> Survey:
    member = Member("m", client_id, "/127.0.0.1", None, frozenset({"orders"}), frozenset(), None)
    described = GroupDescription(name, GroupType.CLASSIC, GroupState.STABLE, (member,))
    return replace(seen, groups={**seen.groups, name: described})


@pytest.mark.parametrize("kind", [GroupType.CLASSIC, GroupType.CONSUMER])
def test_a_group_with_a_member_on_the_source_that_nobody_planned_for_is_red(kind: GroupType) -> None:
    scene = Scene()
    scene.twin.join("stranger", ["orders"], kind)
    finding = scene.found()[UNPLANNED]
    assert (finding.severity, finding.facts) == (Severity.RED, {"group": "stranger"})


def test_an_empty_group_with_a_position_on_the_source_is_red_too() -> None:
    scene = Scene()
    scene.commit("nightly", {1: 5})
    assert scene.found()[UNPLANNED].facts == {"group": "nightly"}


def test_groups_that_are_waived_or_read_other_topics_or_are_our_own_are_in_order() -> None:
    scene = Scene()
    scene.twin.create_topic("payments", 1, replication_factor=1)
    scene.twin.join("elsewhere", ["payments"])
    scene.twin.join("cutover.orders.0", ["orders"])
    scene.commit("nightly", {1: 5})
    assert UNPLANNED not in scene.found(plan(waived_groups=["nightly"]))


def test_groups_without_members_are_not_asked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    for number in range(50):
        scene.commit(f"idle-{number}", {0: 1})
    scene.twin.join("live", ["orders"])
    describe, asked = Twin.describe_groups, list[str]()

    def describing(twin: Twin, names: Collection[str]) -> dict[str, GroupDescription]:
        asked.extend(names)
        return describe(twin, names)

    monkeypatch.setattr(Twin, "describe_groups", describing)
    seen = scene.look()
    assert asked == ["live"]
    assert len(seen.on_source()) == 52


def test_a_group_of_the_plan_that_is_not_there_is_amber_unless_the_plan_says_where_it_begins() -> None:
    finding = Scene().found(plan(groups=[group(), group("balnces")]))[ABSENT]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"group": "balnces"})
    assert ABSENT not in Scene().found(plan(groups=[group(), group("new", missing="earliest")]))


def test_a_share_group_in_the_plan_is_red() -> None:
    scene = Scene()
    scene.twin.join("sharing", ["orders"], GroupType.SHARE)
    found = scene.found(plan(groups=[group(), group("sharing")]))
    assert (found[UNTOLD_TYPE].severity, found[UNTOLD_TYPE].facts) == (Severity.RED, {"group": "sharing", "type": "share"})
    assert UNTOLD_GROUPS not in found


def test_a_share_group_that_may_read_the_source_is_amber_until_it_is_waived() -> None:
    scene = Scene()
    scene.twin.join("sharing", ["orders"], GroupType.SHARE)
    finding = scene.found()[UNTOLD_GROUPS]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"groups": ["sharing"]})
    assert UNTOLD_GROUPS not in scene.found(plan(waived_groups=["sharing"]))


def test_what_cannot_be_seen_is_said() -> None:
    finding = Scene().found()[PATTERNS]
    assert (finding.severity, finding.facts) == (Severity.NOTE, {"watched_seconds": 300.0})


def test_a_position_below_the_log_start_is_amber_with_the_number_that_is_lost() -> None:
    scene = Scene()
    scene.twin.trim(TopicPartition("orders", 2), 11)
    finding = scene.found()[EXPIRED]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"group": "balances", "lost": {2: 10}})


def test_a_partition_without_a_position_is_amber_unless_the_plan_says_where_the_group_begins() -> None:
    scene = Scene()
    scene.commit("partly", {1: 5})
    finding = scene.found(plan(groups=[group(), group("partly")]))[MISSING]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"group": "partly", "partitions": [0, 2]})
    assert MISSING not in scene.found(plan(groups=[group(), group("partly", missing="latest")]))


def test_a_partition_without_a_position_is_a_note_where_members_will_commit_there_and_amber_where_there_is_nothing_to_read() -> None:
    scene = Scene()
    scene.commit("partly", {1: 5, 2: 5})
    scene.twin.join("partly", ["orders"])
    wanted = plan(groups=[group(), group("partly")])
    assert scene.found(wanted)[MISSING].severity is Severity.NOTE
    first = TopicPartition("orders", 0)
    scene.twin.trim(first, scene.twin.end_offsets([first], Isolation.READ_COMMITTED)[first])
    assert scene.found(wanted)[MISSING].severity is Severity.AMBER


def test_a_position_that_a_transaction_hides_is_amber() -> None:
    scene = Scene()
    writer = scene.twin.producer("app")
    writer.begin()
    writer.send_offsets("balances", {TopicPartition("orders", 1): Committed(3)})
    finding = scene.found()[UNDECIDED]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"group": "balances", "partitions": [1]})


def test_static_members_are_a_note() -> None:
    scene = Scene()
    scene.twin.join("balances", ["orders"], instance_id="pod-1")
    finding = scene.found()[STATIC]
    assert (finding.severity, finding.facts) == (Severity.NOTE, {"group": "balances", "instance_ids": ["pod-1"]})
    scene.twin.join("elsewhere", ["orders"], instance_id="pod-2")
    assert finding == scene.found()[STATIC]


def test_an_application_of_kafka_streams_is_red_by_its_threads_or_by_its_internal_topics() -> None:
    scene = Scene()
    threads = judged(with_member(scene.look(), "balances", "balances-0-StreamThread-1-consumer"))
    assert (threads[STREAMS].severity, threads[STREAMS].facts) == (Severity.RED, {"group": "balances", "internal_topics": []})
    scene.twin.create_topic("balances-store-changelog", 3, replication_factor=1)
    assert scene.found()[STREAMS].facts["internal_topics"] == ["balances-store-changelog"]
    assert STREAMS not in judged(with_member(Scene().look(), "balances", "balance-reader"))


def test_an_application_of_kafka_streams_that_stays_behind_is_in_order() -> None:
    seen = with_member(Scene().look(), "old-app", "old-app-StreamThread-1")
    assert STREAMS in judged(seen)
    assert STREAMS not in judged(seen, plan(waived_groups=["old-app"]))


def test_a_sink_of_kafka_connect_that_is_to_be_moved_is_amber() -> None:
    scene = Scene()
    scene.commit("connect-warehouse", dict.fromkeys(range(3), 1))
    finding = scene.found(plan(groups=[group(), group("connect-warehouse")]))[CONNECT]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"group": "connect-warehouse", "connector": "warehouse"})
    assert CONNECT not in scene.found(plan(waived_groups=["connect-warehouse"]))


def test_a_group_that_reads_uncommitted_records_is_amber() -> None:
    wanted = plan(groups=[group(hand_off="at_least_once", isolation="read_uncommitted")])
    finding = Scene().found(wanted)[UNCOMMITTED]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"group": "balances"})


def test_transactions_that_will_be_torn_are_a_note_also_before_the_first_has_ended() -> None:
    scene = Scene()
    writer = scene.twin.producer("app")
    writer.begin()
    writer.produce(TopicPartition("orders", 0), None, b"v")
    first = scene.found()[TORN]
    writer.commit()
    assert first.severity is Severity.NOTE
    assert first == scene.found()[TORN]
