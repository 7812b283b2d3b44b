"""Rules about the cluster: open transactions, the control log, who may do what; and the survey itself."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from cutover.errors import NotAuthorized, UnknownTopic
from cutover.model import Acl, Permission, ProducerState, TopicPartition
from cutover.preflight import Severity
from cutover.preflight.access import NEEDED, UNSEEN
from cutover.preflight.control_topic import ALONE, OPEN, SHAPE
from cutover.preflight.open_transactions import ID as STAYS_OPEN
from cutover.preflight.seal import ID as SEAL
from cutover.preflight.shared_transactions import ID as SHARED
from cutover.preflight.survey import survey
from cutover.protocol import CONTROL_TOPIC, Close, ControlState, Join, Pair, Record, Role, Topic
from cutover.twin import Twin, TwinProducer
from tests.unit.preflight.scene import PLAN, Scene, judged, plan

PAYMENTS = Pair(
    pair="p",
    run="payments-3-to-12",
    source=Topic(name="payments", id="s", partitions=3),
    target=Topic(name="payments.v2", id="t", partitions=12),
    partitioner="murmur2",
)
RIGHT = {"cleanup.policy": "delete", "retention.ms": "-1"}


def writing(scene: Scene) -> TwinProducer:
    """A transaction that has written one record and stays open."""
    writer = scene.twin.producer("app")
    writer.begin()
    writer.produce(TopicPartition("orders", 1), b"k", b"v")
    return writer


def test_a_transaction_that_stays_open_is_amber_and_its_producer_is_named() -> None:
    scene = Scene()
    writer = writing(scene)
    finding = scene.found()[STAYS_OPEN]
    assert finding.severity is Severity.AMBER
    assert finding.facts == {
        "partitions": [1],
        "producer_ids": [writer.known.producer_id],
        "transactional_ids": ["app"],
        "hanging": [],
    }
    writer.commit()
    assert STAYS_OPEN not in scene.found()


def test_a_transaction_that_no_coordinator_knows_is_told_as_one_that_hangs() -> None:
    scene = Scene()
    writer = writing(scene)
    scene.twin.coordinator.ids.clear()
    finding = scene.found()[STAYS_OPEN]
    assert finding.facts["hanging"] == [writer.known.producer_id]
    assert "never end by themselves" in finding.why


def test_a_transaction_that_ends_within_the_patience_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    writer = writing(scene)
    monkeypatch.setattr("time.sleep", lambda _: writer.commit())
    seen = survey(scene.twin, scene.twin, plan(), ControlState(), patience_seconds=60)
    assert STAYS_OPEN not in judged(seen)


def control(scene: Scene, partitions: int = 1, replicas: int = 3, configs: Mapping[str, str] | None = None) -> None:
    scene.twin.create_topic(CONTROL_TOPIC, partitions, replication_factor=replicas, configs=RIGHT | dict(configs or {}))


@pytest.mark.parametrize(
    ("partitions", "wrong"),
    [(2, {}), (1, {"retention.ms": "604800000"}), (1, {"cleanup.policy": "compact"}), (1, {"retention.bytes": "1000"})],
)
def test_a_control_topic_that_may_forget_or_has_no_order_is_red(partitions: int, wrong: dict[str, str]) -> None:
    scene = Scene()
    control(scene, partitions, configs=wrong)
    finding = scene.found()[SHAPE]
    assert (finding.severity, finding.facts) == (Severity.RED, {"configs": wrong, "partitions": partitions})


def test_a_control_topic_as_the_run_makes_it_is_in_order_and_so_is_none() -> None:
    scene = Scene()
    assert SHAPE not in scene.found()
    control(scene)
    assert {SHAPE, ALONE}.isdisjoint(scene.found())


def test_a_control_topic_with_fewer_replicas_than_the_source_is_amber() -> None:
    scene = Scene()
    control(scene, replicas=1)
    finding = scene.found()[ALONE]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"replicas": 1, "source_replicas": 3})


@pytest.mark.parametrize(
    "rule",
    [
        Acl("User:*", "write", "topic", CONTROL_TOPIC),
        Acl("User:*", "all", "topic", "*"),
        Acl("User:*", "write", "topic", "_cutover", pattern="prefixed"),
    ],
)
def test_a_control_topic_that_everybody_may_write_is_amber(rule: Acl) -> None:
    scene = Scene()
    scene.twin.create_acls([rule])
    assert scene.found()[OPEN].severity is Severity.AMBER


@pytest.mark.parametrize(
    "rule",
    [
        Acl("User:order-service", "write", "topic", CONTROL_TOPIC),
        Acl("User:*", "read", "topic", CONTROL_TOPIC),
        Acl("User:*", "write", "topic", "orders"),
        Acl("User:*", "write", "topic", "orders", pattern="prefixed"),
        Acl("User:*", "write", "group", "*"),
        Acl("User:*", "write", "topic", CONTROL_TOPIC, Permission.DENY),
    ],
)
def test_a_rule_that_lets_not_everybody_write_the_control_topic_is_in_order(rule: Acl) -> None:
    scene = Scene()
    scene.twin.create_acls([rule])
    assert OPEN not in scene.found()


def test_without_an_authorizer_both_the_open_control_topic_and_the_missing_seal_are_notes() -> None:
    scene = Scene(Twin(brokers=3, authorizer=False))
    found = scene.found()
    assert (found[OPEN].severity, found[SEAL].severity) == (Severity.NOTE, Severity.NOTE)
    assert found[SEAL].what == "seal: unavailable"


def test_the_seal_says_nothing_where_the_plan_names_no_producer() -> None:
    assert SEAL not in Scene().found(plan(producers=[]))


def test_producers_without_a_principal_or_that_share_one_are_a_note() -> None:
    [service] = PLAN["producers"]
    twice = [service, {**service, "name": "importer"}, {"name": "cron", "owner": "team-orders", "switch": "manual"}]
    finding = Scene().found(plan(producers=twice))[SEAL]
    assert finding.severity is Severity.NOTE
    assert finding.facts == {"without_principal": ["cron"], "shared_principals": ["User:order-service"], "authorizer": True}
    alone = Scene().found(plan(producers=twice[2:]))[SEAL]
    assert (alone.facts["shared_principals"], "have none in the plan" in alone.why) == ([], True)
    assert SEAL not in Scene().found()


@pytest.mark.parametrize(
    ("method", "question", "id_", "severity"),
    [
        ("read", "records", NEEDED, Severity.RED),
        ("topic_configs", "configs", NEEDED, Severity.RED),
        ("committed", "groups", NEEDED, Severity.RED),
        ("producers", "producers", UNSEEN, Severity.AMBER),
        ("acls", "access rules", UNSEEN, Severity.AMBER),
    ],
)
def test_what_this_principal_may_not_ask_is_a_finding_and_the_others_are_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch, method: str, question: str, id_: str, severity: Severity
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotAuthorized("this principal may not")

    scene = Scene()
    monkeypatch.setattr(Twin, method, refuse)
    found = scene.found(plan(partitioner="crc32", target={"topic": "orders.v2", "partitions": 2}))
    assert (found[id_].severity, found[id_].facts["question"]) == (severity, question)
    assert "CUT-PRE-002" in found


def test_access_rules_that_may_not_be_read_say_nothing_of_the_control_topic_or_the_seal() -> None:
    found = judged(replace(Scene().look(), acls=None, refused={"access rules": "no"}))
    assert {OPEN, SEAL}.isdisjoint(found)


def test_a_source_that_is_not_there_is_an_error_and_no_finding() -> None:
    with pytest.raises(UnknownTopic):
        Scene().look(plan(source={"topic": "order"}))


def test_a_look_changes_nothing() -> None:
    scene = Scene()
    before = (scene.twin.topic_names(), scene.twin.groups(), scene.twin.transactions())
    scene.found()
    assert (scene.twin.topic_names(), scene.twin.groups(), scene.twin.transactions()) == before


def log_of(*records: Record) -> ControlState:
    state = ControlState()
    for offset, record in enumerate(records):
        state = state.then(offset, record)
    return state


def writing_both(scene: Scene, other: str = "payments") -> TwinProducer:
    """A transaction over the source and another topic."""
    scene.twin.create_topic(other, 3, replication_factor=3)
    writer = writing(scene)
    writer.produce(TopicPartition(other, 2), b"k", b"v")
    return writer


def test_a_transactional_producer_that_another_run_switches_too_is_red_while_its_transaction_is_open_and_after_it() -> None:
    scene = Scene()
    writer = writing_both(scene)
    for _ in ("open", "ended"):
        finding = scene.found(log=log_of(PAYMENTS))[SHARED]
        assert finding.severity is Severity.RED
        assert finding.facts == {"transactional_id": "app", "topics": ["payments"], "runs": ["payments-3-to-12"]}
        if writer.open:
            writer.commit()


def test_one_that_writes_the_new_topic_of_another_run_is_found_too() -> None:
    scene = Scene()
    writing_both(scene, "payments.v2").commit()
    assert scene.found(log=log_of(PAYMENTS))[SHARED].facts["topics"] == ["payments.v2"]


def test_an_instance_that_has_joined_for_both_under_one_transactional_id_is_found_before_it_writes() -> None:
    scene = Scene()
    scene.twin.create_topic("payments", 3, replication_factor=3)
    joins = [
        Join(instance=f"i/{topic}", session="1", topic=topic, role=Role.PRODUCER, transactional_id="tx", partitioner="murmur2")
        for topic in ("orders", "payments")
    ]
    assert scene.found(log=log_of(PAYMENTS, *joins))[SHARED].facts["transactional_id"] == "tx"


@pytest.mark.parametrize("removed", [True, False], ids=["removed meanwhile", "not known everywhere yet"])
def test_a_topic_of_another_run_that_a_broker_does_not_know_stops_no_survey(removed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    writing_both(scene).commit()
    ask, refused = Twin.producers, list[bool]()

    def producers(twin: Twin, partitions: Collection[TopicPartition], **_: object) -> Mapping[TopicPartition, Collection[ProducerState]]:
        if not refused and any(where.topic == "payments" for where in partitions):
            refused.append(True)
            if removed:
                twin.delete_topic("payments", twin.describe_topics(["payments"])["payments"].topic_id)
            raise UnknownTopic("no such topic", topic="payments")
        return ask(twin, partitions)

    monkeypatch.setattr(Twin, "producers", producers)
    assert (SHARED in scene.found(log=log_of(PAYMENTS))) is not removed
    assert refused


@pytest.mark.parametrize("case", ["nobody switches it", "the pair is closed", "the same run", "one writes only here", "no transactions"])
def test_it_is_no_finding_where(case: str) -> None:
    scene, log = Scene(), [PAYMENTS]
    if case == "one writes only here":
        scene.twin.create_topic("payments", 3, replication_factor=3)
        writing(scene).commit()
    elif case == "no transactions":
        scene.twin.create_topic("payments", 3, replication_factor=3)
        producer = scene.twin.idempotent_producer()
        for name in ("orders", "payments"):
            scene.twin.append(TopicPartition(name, 0), b"k", b"v", producer=producer)
    else:
        writing_both(scene).commit()
    told: dict[str, list[Record]] = {"nobody switches it": [], "the pair is closed": [PAYMENTS, Close(pair="p")]}
    told["the same run"] = [PAYMENTS.model_copy(update={"run": PLAN["cutover"]})]
    assert SHARED not in scene.found(log=log_of(*told.get(case, log)))
