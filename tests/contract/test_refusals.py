"""Each way in which a real cluster says no, or nothing, is an error of ours that says who acts next."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.connection import Connection
from cutover.errors import (
    InvalidConnection,
    NoBroker,
    NotAuthenticated,
    NotAuthorized,
    ReadTimedOut,
    RejectedByBroker,
    WriteUnknown,
)
from cutover.kafka.admin import KafkaCluster
from cutover.kafka.embedded import EmbeddedKafka
from cutover.kafka.embedded.properties import Mechanism
from cutover.kafka.reader import KafkaReader
from cutover.model import ConfigChange, Isolation, TopicPartition
from tests.conftest import SLOW_MACHINE
from tests.contract.secured import Secured

pytestmark = pytest.mark.kafka
WHERE = TopicPartition("private", 0)


@pytest.fixture(scope="module")
def private(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> Secured:
    with KafkaCluster(secured.connection(tmp_path_factory.mktemp("admin"))) as cluster:
        cluster.create_topic("private", 1, replication_factor=1, timeout_seconds=60)
    return secured


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
def test_every_mechanism_logs_in_with_both_libraries(private: Secured, mechanism: Mechanism, tmp_path: Path) -> None:
    connection = private.connection(tmp_path, mechanism=mechanism)
    with KafkaCluster(connection) as cluster:
        assert "private" in cluster.topic_names()
        assert cluster.producers([WHERE]) == {WHERE: ()}
        assert cluster.end_offsets([WHERE], Isolation.READ_COMMITTED) == {WHERE: 0}
    assert list(KafkaReader(connection).read({WHERE: (0, 0)})) == []


def test_a_wrong_password_is_told_long_before_the_deadline(private: Secured, tmp_path: Path) -> None:
    began = time.monotonic()
    with KafkaCluster(private.connection(tmp_path, password="wrong"), timeout_seconds=30) as cluster:
        with pytest.raises(NotAuthenticated):
            cluster.describe_topics(["private"])
        with pytest.raises(NotAuthenticated):
            cluster.create_topic("never", 1, replication_factor=1)
        with pytest.raises(NotAuthenticated):
            cluster.topic_names()
    assert time.monotonic() - began < 15 * SLOW_MACHINE


def test_a_wrong_password_is_told_by_the_second_library_too(private: Secured, tmp_path: Path) -> None:
    with (
        KafkaCluster(private.connection(tmp_path, password="wrong"), timeout_seconds=6) as cluster,
        pytest.raises(NotAuthenticated),
    ):
        cluster.groups()


def test_a_broker_whose_certificate_nobody_signed_is_not_trusted(private: Secured, tmp_path: Path) -> None:
    connection = private.connection(tmp_path)
    untrusting = Connection(connection.bootstrap_servers, connection.security_protocol, connection.sasl)
    with KafkaCluster(untrusting, timeout_seconds=10) as cluster, pytest.raises(NotAuthenticated):
        cluster.describe_topics(["private"])


def test_what_a_principal_may_not_do_is_named_with_its_resource_and_operation(private: Secured, tmp_path: Path) -> None:
    with KafkaCluster(private.connection(tmp_path, "stranger")) as cluster:
        with pytest.raises(NotAuthorized) as caught:
            cluster.describe_topics(["private"])
        assert caught.value.fields["resource"] == "private"
        assert caught.value.fields["operation"] == "describe"
        with pytest.raises(NotAuthorized):
            cluster.create_topic("never", 1, replication_factor=1)
        with pytest.raises(NotAuthorized):
            cluster.committed(["balances"], [WHERE])
        with pytest.raises(NotAuthorized):
            cluster.acls()
        with pytest.raises(NotAuthorized):
            cluster.topic_configs(["private"])
        with pytest.raises(NotAuthorized):
            cluster.describe_groups(["balances"])
    with pytest.raises(NotAuthorized):
        list(KafkaReader(private.connection(tmp_path, "stranger")).read({WHERE: (0, 1)}))


def test_a_port_where_nobody_listens_is_unreachable_for_questions_and_for_changes_that_were_never_sent() -> None:
    connection = Connection.load(bootstrap="127.0.0.1:1")
    with KafkaCluster(connection, timeout_seconds=1) as cluster:
        for call in (
            lambda: cluster.describe_topics(["t"]),
            lambda: cluster.end_offsets([WHERE], Isolation.READ_COMMITTED),
            lambda: cluster.committed(["g"]),
            cluster.groups,
            cluster.topic_names,
            cluster.features,
            lambda: cluster.create_topic("t", 1, replication_factor=1),
        ):
            with pytest.raises(NoBroker):
                call()
    with pytest.raises(NoBroker):
        list(KafkaReader(connection, timeout_seconds=1).read({WHERE: (0, 1)}))


def test_a_profile_that_librdkafka_refuses_is_an_error_of_ours() -> None:
    odd = Connection.of({"bootstrap.servers": "127.0.0.1:1", "socket.timeout.ms": "never"})
    with pytest.raises(InvalidConnection):
        KafkaCluster(odd)
    with pytest.raises(InvalidConnection):
        list(KafkaReader(odd).read({WHERE: (0, 1)}))


def test_a_name_that_no_topic_can_have_is_refused(real_cluster: KafkaCluster) -> None:
    with pytest.raises(RejectedByBroker):
        real_cluster.create_topic("no such name!", 1, replication_factor=1)


@pytest.fixture
def alone() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as kafka:
        yield kafka


def test_no_answer_to_a_question_is_unreachable_and_no_answer_to_a_change_is_ambiguous(alone: EmbeddedKafka) -> None:
    with KafkaCluster(Connection.load(bootstrap=alone.bootstrap_servers)) as cluster:
        topic_id = cluster.create_topic("t", 1, replication_factor=1, timeout_seconds=60).topic_id
        where = TopicPartition("t", 0)
        cluster.producers([where])
        alone.broker(1).pause()
        try:
            with pytest.raises(ReadTimedOut):
                cluster.end_offsets([where], Isolation.READ_COMMITTED, timeout_seconds=1)
            with pytest.raises(ReadTimedOut):
                cluster.groups(timeout_seconds=1)
            with pytest.raises(WriteUnknown) as caught:
                cluster.create_topic("unknown", 1, replication_factor=1, timeout_seconds=1)
            assert caught.value.exit_code == 7
        finally:
            alone.broker(1).resume()
        cluster.alter_configs("t", topic_id, {"retention.ms": ConfigChange(None, "-1")}, timeout_seconds=30)
        assert cluster.groups(timeout_seconds=30) == {}
