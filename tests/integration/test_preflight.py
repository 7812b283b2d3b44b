"""The preflight on real Kafka: each thing that could stop a run, planted and found; a big cluster, looked at in time."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
import yaml
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from cutover.cli import main
from cutover.connection import Connection
from cutover.errors import RejectedByBroker
from cutover.kafka.admin import KafkaCluster
from cutover.kafka.embedded import EmbeddedKafka
from cutover.kafka.embedded.properties import Security
from cutover.kafka.reader import KafkaReader
from cutover.lifecycle import Stage
from cutover.model import Acl, Committed, GroupType, TopicPartition
from cutover.partitioners import partition
from cutover.plan import Plan
from cutover.preflight import (
    Finding,
    Severity,
    Survey,
    access,
    control_topic,
    dual_access,
    dual_order,
    durability,
    findings,
    group_positions,
    groups_known,
    groups_unseen,
    keys_in_two_partitions,
    open_transactions,
    partitioner,
    standing_in_the_way,
    survey,
    target_free,
)
from cutover.protocol import CONTROL_TOPIC, ControlState, Join, Role
from tests.conftest import MakeTopic, WaitUntil
from tests.contract.actors import RealActors
from tests.contract.secured import Secured
from tests.cutting import ACCEPTED, Cutting

pytestmark = pytest.mark.kafka

KEYS = 300
BIG = 200
BIG_PARTITIONS = 10
LIVE = 30
IN_TIME_SECONDS = 5.0
NOT_MEANT = (durability.ALONE, groups_unseen.UNTOLD_GROUPS)
"""What every test here meets on a cluster of one broker that other tests use too."""


@pytest.fixture(scope="module")
def cluster(bootstrap: str) -> Iterator[KafkaCluster]:
    with KafkaCluster(Connection.load(bootstrap=bootstrap), timeout_seconds=30) as made:
        yield made


@pytest.fixture
def actors(bootstrap: str) -> Iterator[RealActors]:
    made = RealActors(bootstrap)
    yield made
    made.close()


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    """A cluster of its own, with an authorizer."""
    with EmbeddedKafka(security=Security(users={"operator": "operator-word"})) as kafka:
        yield Secured(kafka)


@pytest.fixture
def guarded(secured: Secured, tmp_path: Path) -> Iterator[Secured]:
    """The cluster with an authorizer; whatever topics a test leaves are gone before the next one, the control topic too."""
    yield secured
    with KafkaCluster(secured.connection(tmp_path), timeout_seconds=30) as cluster:
        for name, found in cluster.describe_topics(cluster.topic_names()).items():
            if not found.internal:
                cluster.delete_topic(name, found.topic_id)


def described(source: str, bootstrap: str, **changed: object) -> dict[str, Any]:
    """A plan, as its file says it."""
    told: dict[str, Any] = {
        "cutover": f"run-{source}",
        "cluster": {"bootstrap": bootstrap},
        "source": {"topic": source},
        "target": {"topic": f"{source}.v2", "partitions": 9},
        "partitioner": "murmur2",
        "producers": [{"name": "order-service", "owner": "team-orders", "switch": "sdk"}],
        "groups": [{"name": f"balances-{source}", "owner": "team-ledger", "switch": "sdk"}],
        "acknowledged": list(NOT_MEANT),
    }
    return told | changed


def write(bootstrap: str | Mapping[str, Any], topic: str, count: int, family: str = "murmur2") -> None:
    """Every key once, where a family puts it on a topic of so many partitions."""
    config = {"bootstrap.servers": bootstrap} if isinstance(bootstrap, str) else dict(bootstrap)
    producer = Producer({**config, "enable.idempotence": True})
    for number in range(KEYS):
        key = b"key-%d" % number
        producer.produce(topic, b"v", key, partition(family, key, count))
    assert producer.flush(60) == 0


def by_id(found: tuple[Finding, ...]) -> dict[str, Finding]:
    return {each.id: each for each in reversed(found)}


class Looked:
    """What the preflight says of a topic, with the plan above."""

    def __init__(self, cluster: KafkaCluster, connection: Connection, wanted: Mapping[str, Any], patience_seconds: float = 2.0) -> None:
        self.plan = Plan.model_validate(wanted)
        reader = KafkaReader(connection, timeout_seconds=30)
        self.seen: Survey = survey(cluster, reader, self.plan, ControlState(), patience_seconds=patience_seconds)
        self.all = findings(self.plan, self.seen)
        self.found = by_id(self.all)

    @property
    def in_the_way(self) -> set[str]:
        return {each.id for each in standing_in_the_way(self.all, self.plan.acknowledged)}


@pytest.fixture
def look(cluster: KafkaCluster, bootstrap: str) -> "Look":
    return Look(cluster, bootstrap)


class Look:
    def __init__(self, cluster: KafkaCluster, bootstrap: str) -> None:
        self.cluster, self.bootstrap = cluster, bootstrap

    def __call__(self, source: str, patience_seconds: float = 2.0, **changed: object) -> Looked:
        wanted = described(source, self.bootstrap, **changed)
        return Looked(self.cluster, Connection.load(bootstrap=self.bootstrap), wanted, patience_seconds)


class Commit(Protocol):
    def __call__(self, group: str, source: str, positions: Mapping[int, int]) -> None: ...


@pytest.fixture
def commit(actors: RealActors, wait_until: WaitUntil) -> Commit:
    """Sets the positions of a group without members."""

    def committed(group: str, source: str, positions: Mapping[int, int]) -> None:
        wanted = {TopicPartition(source, p): Committed(offset) for p, offset in positions.items()}
        wait_until(lambda: is_set(actors, group, wanted), 60, f"{group} has positions")

    return committed


def test_nothing_stands_in_the_way_of_a_sound_topic_with_a_live_group_of_the_plan(
    bootstrap: str, topic: MakeTopic, actors: RealActors, look: Look, wait_until: WaitUntil
) -> None:
    source = topic(partitions=3)
    write(bootstrap, source, 3)
    member = actors.join(f"balances-{source}", [source], GroupType.CONSUMER)
    wait_until(lambda: len(member.assigned()) == 3, 60, "the member holds every partition")
    member.commit({TopicPartition(source, p): Committed(1) for p in range(3)})
    looked = look(source)
    assert looked.in_the_way == set()
    assert len(looked.seen.readers(f"balances-{source}")) == 1
    assert (looked.seen.fit.distinct_keys, looked.seen.fit.families[0]) == (KEYS, "murmur2")


@pytest.mark.parametrize("kind", [GroupType.CLASSIC, GroupType.CONSUMER])
def test_a_live_group_that_nobody_planned_for_is_red_before_its_first_commit(
    topic: MakeTopic, actors: RealActors, commit: Commit, look: Look, wait_until: WaitUntil, kind: GroupType
) -> None:
    source = topic(partitions=3)
    commit(f"balances-{source}", source, dict.fromkeys(range(3), 1))
    member = actors.join(f"stranger-{source}", [source], kind)
    wait_until(lambda: len(member.assigned()) == 3, 60, "the member holds every partition")
    finding = look(source).found[groups_known.UNPLANNED]
    assert (finding.severity, finding.facts) == (Severity.RED, {"group": f"stranger-{source}"})


def test_share_groups_are_told_and_do_not_stop_the_survey(
    topic: MakeTopic, actors: RealActors, commit: Commit, look: Look, cluster: KafkaCluster, wait_until: WaitUntil
) -> None:
    source = topic(partitions=3)
    commit(f"balances-{source}", source, dict.fromkeys(range(3), 1))
    name = f"sharing-{source}"
    member = actors.join(name, [source], GroupType.SHARE)

    def is_listed() -> bool:
        member.assigned()
        return name in cluster.groups()

    wait_until(is_listed, 60, "the share group is there")
    looked = look(source)
    assert name in looked.found[groups_unseen.UNTOLD_GROUPS].facts["groups"]
    assert groups_known.UNPLANNED not in looked.found


def test_positions_below_the_log_start_and_partitions_without_one_are_told(
    topic: MakeTopic, actors: RealActors, commit: Commit, look: Look
) -> None:
    source = topic(partitions=3)
    actors.produce(TopicPartition(source, 0), [(b"k", b"v")] * 10)
    commit(f"balances-{source}", source, {0: 1})
    actors.trim(TopicPartition(source, 0), 8)
    found = look(source).found
    assert found[group_positions.EXPIRED].facts["lost"] == {0: 7}
    assert found[group_positions.MISSING].facts["partitions"] == [1, 2]


def test_an_altered_topic_is_red(bootstrap: str, admin: AdminClient, topic: MakeTopic, commit: Commit, look: Look) -> None:
    source = topic(partitions=3)
    write(bootstrap, source, 3)
    admin.create_partitions([NewPartitions(source, 6)])[source].result(30)
    write(bootstrap, source, 6)
    commit(f"balances-{source}", source, dict.fromkeys(range(6), 1))
    found = look(source, target={"topic": f"{source}.v2", "partitions": 12}).found
    assert found[keys_in_two_partitions.ID].facts["split"] > KEYS / 4
    assert found[keys_in_two_partitions.ID].severity is Severity.RED
    assert partitioner.WRONG in found


def test_the_wrong_partitioner_is_red_and_the_right_one_named(bootstrap: str, topic: MakeTopic, commit: Commit, look: Look) -> None:
    source = topic(partitions=3)
    write(bootstrap, source, 3, "crc32")
    commit(f"balances-{source}", source, dict.fromkeys(range(3), 1))
    finding = look(source).found[partitioner.WRONG]
    assert (finding.severity, finding.facts["families"][0]) == (Severity.RED, "crc32")
    assert partitioner.WRONG not in look(source, partitioner="crc32").found


def test_a_transaction_that_stays_open_is_amber_with_its_transactional_id_and_gone_once_it_has_ended(
    topic: MakeTopic, actors: RealActors, commit: Commit, look: Look
) -> None:
    source = topic(partitions=3)
    commit(f"balances-{source}", source, dict.fromkeys(range(3), 1))
    writer = actors.producer(f"app-{source}")
    writer.begin()
    writer.produce(TopicPartition(source, 1), b"k", b"v")
    finding = look(source, patience_seconds=0.2).found[open_transactions.ID]
    assert finding.severity is Severity.AMBER
    assert (finding.facts["partitions"], finding.facts["transactional_ids"], finding.facts["hanging"]) == ([1], [f"app-{source}"], [])
    writer.commit()
    assert open_transactions.ID not in look(source).found


def test_a_target_that_is_there_is_red(topic: MakeTopic, commit: Commit, look: Look, cluster: KafkaCluster) -> None:
    source = topic(partitions=3)
    commit(f"balances-{source}", source, dict.fromkeys(range(3), 1))
    taken = topic(partitions=1)
    finding = look(source, target={"topic": taken, "partitions": 9}).found[target_free.TAKEN]
    assert (finding.severity, finding.facts) == (Severity.RED, {"topic_id": cluster.describe_topics([taken])[taken].topic_id})


def test_a_control_topic_of_the_wrong_shape_is_red_and_one_that_everybody_may_write_is_amber(guarded: Secured, tmp_path: Path) -> None:
    connection = guarded.connection(tmp_path)
    everybody = Acl("User:*", "write", "topic", "_cutover", pattern="prefixed")
    source = "orders"
    with KafkaCluster(connection, timeout_seconds=30) as cluster, ExitStack() as ends:
        for name, partitions, configs in ((source, 3, {}), (CONTROL_TOPIC, 2, {"retention.ms": "1000"})):
            made = cluster.create_topic(name, partitions, replication_factor=1, configs=configs)
            ends.callback(cluster.delete_topic, made.name, made.topic_id)
        before = Looked(cluster, connection, described(source, "ignored:9092")).found
        assert (before[control_topic.SHAPE].severity, before[control_topic.SHAPE].facts) == (
            Severity.RED,
            {"configs": {"retention.ms": "1000"}, "partitions": 2},
        )
        assert control_topic.OPEN not in before
        cluster.create_acls([everybody])
        ends.callback(cluster.delete_acls, [everybody])
        after = Looked(cluster, connection, described(source, "ignored:9092")).found
    assert after[control_topic.OPEN].severity is Severity.AMBER


def test_a_principal_that_may_write_the_source_alone_is_red_with_dual_write_until_it_may_write_both_in_transactions(
    guarded: Secured, tmp_path: Path
) -> None:
    connection, source, who = guarded.connection(tmp_path), "transfers", "User:order-service"
    rules = [
        Acl(who, "write", "topic", source, pattern="prefixed"),
        *(Acl(who, each, "transactional_id", "cutover.dual.", pattern="prefixed") for each in ("write", "describe")),
    ]
    producer = {"name": "order-service", "owner": "team-orders", "switch": "sdk", "principal": who}
    wanted = described(source, "ignored:9092", strategy="dual_write", producers=[producer])
    with KafkaCluster(connection, timeout_seconds=30) as cluster, ExitStack() as ends:
        made = cluster.create_topic(source, 3, replication_factor=1)
        ends.callback(cluster.delete_topic, source, made.topic_id)
        ends.callback(cluster.delete_acls, rules)
        found = []
        for count in range(len(rules) + 1):
            cluster.create_acls(rules[:count])
            looked = Looked(cluster, connection, wanted).found
            found.append(looked[dual_access.ID].severity if dual_access.ID in looked else None)
    assert found == [Severity.AMBER, Severity.RED, None, None]  # Write implies Describe
    assert dual_order.ID in looked


class Guarded(Cutting):
    """A run on the cluster that has an authorizer."""

    secured: ClassVar[Connection]

    @property
    def connection(self) -> Connection:
        return self.secured


def test_the_target_gets_the_rules_that_name_the_source_and_loses_them_with_itself(guarded: Secured, tmp_path: Path) -> None:
    Guarded.secured = guarded.connection(tmp_path)
    cutting = Guarded.of("ignored:9092", tmp_path, acknowledged=[*ACCEPTED, *NOT_MEANT])
    rules = [Acl("User:balances", "read", "topic", cutting.source), Acl("User:balances", "read", "topic", "cut-", pattern="prefixed")]
    with cutting.world() as opened, ExitStack() as ends:
        cluster = opened.world.cluster
        cluster.create_acls(rules)
        ends.callback(cluster.delete_acls, rules)
        cutting.drive(opened, Stage.PROVISIONED)
        assert {each for each in cluster.acls() if each.resource == cutting.target} == {replace(rules[0], resource=cutting.target)}
        cutting.back(opened)
        assert {each for each in cluster.acls() if each.resource == cutting.target} == set()
        assert set(rules) <= cluster.acls()


def test_what_the_principal_may_not_ask_is_told_with_everything_else(guarded: Secured, tmp_path: Path) -> None:
    """It may describe the topic and nothing more: no records, no configs, no producers, no access rules."""
    source, rule = "payments", Acl("User:operator", "describe", "topic", "payments")
    limited = guarded.connection(tmp_path, "operator")
    with KafkaCluster(guarded.connection(tmp_path), timeout_seconds=30) as admin, ExitStack() as ends:
        made = admin.create_topic(source, 3, replication_factor=1)
        ends.callback(admin.delete_topic, source, made.topic_id)
        admin.create_acls([rule])
        ends.callback(admin.delete_acls, [rule])
        write(guarded.connection(tmp_path).librdkafka(), source, 3)
        with KafkaCluster(limited, timeout_seconds=30) as cluster:
            looked = Looked(cluster, limited, described(source, "ignored:9092", target={"topic": "payments.v2", "partitions": 2}))
    assert {each.facts["question"]: each.id for each in looked.all if each.id in {access.NEEDED, access.UNSEEN}} == {
        "configs": access.NEEDED,
        "records": access.NEEDED,
        "producers": access.UNSEEN,
        "access rules": access.UNSEEN,
    }
    assert "CUT-PRE-002" in looked.found


def preflight(folder: Path, wanted: Mapping[str, Any], *options: str) -> Result:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(dict(wanted)))
    return CliRunner().invoke(main, ["preflight", str(path), *options])


def of_this_test(cluster: KafkaCluster, source: str) -> set[str]:
    """Other tests make and remove topics beside this one: those that carry its name."""
    return {name for name in cluster.topic_names() if source in name}


def test_the_command_ends_with_4_while_something_stands_in_the_way_and_changes_nothing(
    bootstrap: str, topic: MakeTopic, commit: Commit, cluster: KafkaCluster, tmp_path: Path
) -> None:
    source = topic(partitions=3)
    write(bootstrap, source, 3)
    commit(f"balances-{source}", source, dict.fromkeys(range(3), 1))
    commit(f"nightly-{source}", source, {0: 1})
    names, configs = of_this_test(cluster, source), cluster.topic_configs([source])
    ended = preflight(tmp_path, described(source, bootstrap))
    assert ended.exit_code == 4, ended.output
    assert f"red    CUT-PRE-007  the group nightly-{source} reads {source} and is not in the plan" in ended.stdout
    assert "amber  CUT-PRE-015" in ended.stdout
    assert "(acknowledged)" in ended.stdout
    assert "ready: no, 1 findings stand in the way" in ended.stderr
    assert of_this_test(cluster, source) == names == {source}
    assert cluster.topic_configs([source]) == configs
    waived = described(source, bootstrap, waived_groups=[f"nightly-{source}"])
    ended = preflight(tmp_path, waived, "--output", "json")
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["ready"], document["in_the_way"]) == (0, True, [])
    assert {"CUT-PRE-015", "CUT-PRE-017"} <= {each["id"] for each in document["findings"]}


def test_the_command_hears_the_control_log(guarded: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that has joined with another partitioner is known from there alone."""
    connection, source = guarded.connection(tmp_path), "refunds"
    joined = Join(instance="i-1", session="s", topic=source, role=Role.PRODUCER, partitioner="consistent_random")
    with KafkaCluster(connection, timeout_seconds=30) as cluster, ExitStack() as ends:
        for name, partitions, configs in ((source, 3, {}), (CONTROL_TOPIC, 1, {"retention.ms": "-1"})):
            made = cluster.create_topic(name, partitions, replication_factor=1, configs=configs)
            ends.callback(cluster.delete_topic, made.name, made.topic_id)
        producer = Producer(connection.librdkafka())
        producer.produce(CONTROL_TOPIC, joined.encoded())
        assert producer.flush(60) == 0
        monkeypatch.setenv("XDG_CONFIG_HOME", str(profile(guarded, tmp_path)))
        ended = preflight(tmp_path, described(source, "", cluster={"profile": "guarded"}), "--output", "json")
    found = {each["id"]: each for each in json.loads(ended.stdout)["findings"]}
    assert found["CUT-PRE-012"]["facts"] == {"instance": "i-1", "partitioner": "consistent_random"}
    assert "CUT-PRE-019" not in found


def profile(guarded: Secured, folder: Path) -> Path:
    """A folder with a config file whose profile `guarded` leads to the cluster, its password in a file."""
    told = guarded.kafka.connection("admin", "SCRAM-SHA-512")
    (folder / "password").write_text(told["sasl.password"])
    lines = [f'"{name}" = "{value}"' for name, value in (told | {"sasl.password": f"file:{folder / 'password'}"}).items()]
    (folder / "cutover").mkdir()
    (folder / "cutover" / "config.toml").write_text("\n".join(["[profiles.guarded]", *lines]))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_big_cluster_is_looked_at_within_seconds(wait_until: WaitUntil) -> None:
    """200 topics of 10 partitions, 200 groups on them of which 30 are live, a source of 10 partitions with 300,000 records."""
    with EmbeddedKafka() as kafka:
        bootstrap = kafka.bootstrap_servers
        admin, actors = AdminClient({"bootstrap.servers": bootstrap}), RealActors(bootstrap)
        connection = Connection.load(bootstrap=bootstrap)
        with KafkaCluster(connection, timeout_seconds=60) as cluster:
            fill(admin, actors, bootstrap, wait_until)
            took = []
            for _ in range(3):
                begun = time.monotonic()
                looked = Looked(cluster, connection, described("topic-0", bootstrap, groups=[]))
                took.append(time.monotonic() - begun)
        actors.close()
    print(f"survey of {BIG} topics, {BIG} groups: {', '.join(f'{each:.2f}' for each in took)} s")
    assert len([each for each in looked.all if each.id == groups_known.UNPLANNED]) == BIG
    assert min(took) < IN_TIME_SECONDS


def fill(admin: AdminClient, actors: RealActors, bootstrap: str, wait_until: WaitUntil) -> None:
    """The groups first: the coordinator of a new one is slow to answer while the broker makes a thousand logs."""
    make(admin, ["topic-0"])
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "partitioner": "murmur2"})
    for number in range(300_000):
        producer.produce("topic-0", b"v" * 200, b"key-%d" % (number % 10_000))
        if number % 10_000 == 0:
            producer.flush(60)
    assert producer.flush(60) == 0
    everywhere = {TopicPartition("topic-0", p): Committed(1) for p in range(BIG_PARTITIONS)}
    for number in range(BIG - LIVE):
        wait_until(lambda name=f"idle-{number}": is_set(actors, name, everywhere), 60, "a group has positions")  # type: ignore[misc]
    names = [f"topic-{number}" for number in range(1, BIG)]
    for begin in range(0, BIG, 20):
        make(admin, names[begin : begin + 20])
    members = [actors.join(f"live-{number}", ["topic-0"], GroupType.CLASSIC) for number in range(LIVE)]
    for member in members:
        wait_until(lambda member=member: len(member.assigned()) == BIG_PARTITIONS, 120, "a live group holds the topic")  # type: ignore[misc]


def is_set(actors: RealActors, group: str, positions: Mapping[TopicPartition, Committed]) -> bool:
    """Whether a coordinator took them; a new cluster's is still loading at first."""
    try:
        actors.alter_offsets(group, positions)
    except RejectedByBroker:
        return False
    return True


def make(admin: AdminClient, names: list[str]) -> None:
    for future in admin.create_topics([NewTopic(name, BIG_PARTITIONS) for name in names]).values():
        future.result(120)
