"""Access rules, on the twin and on a cluster with an authorizer."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.connection import Connection
from cutover.errors import AclsUnavailable, RejectedByBroker
from cutover.kafka.admin import KafkaCluster
from cutover.model import Acl, Permission
from cutover.ports import Cluster
from cutover.twin import Twin
from tests.contract.secured import Secured


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.kafka)])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    if request.param == "twin":
        yield Twin()
        return
    secured: Secured = request.getfixturevalue("secured")
    with KafkaCluster(secured.connection(tmp_path)) as made:
        yield made


def test_rules_are_added_listed_and_removed_one_by_one(cluster: Cluster) -> None:
    topic = f"sealed-{uuid.uuid4().hex[:8]}"
    seal = Acl("User:legacy", "write", "topic", topic, Permission.DENY)
    others = {
        Acl("User:mover", "read", "group", topic, pattern="prefixed"),
        Acl("User:mover", "describe", "cluster", "kafka-cluster"),
        Acl("User:mover", "write", "transactional_id", topic, host="127.0.0.1"),
    }
    cluster.create_acls([seal, *others])
    cluster.create_acls([seal])
    assert {seal, *others} <= cluster.acls()
    assert cluster.delete_acls([seal]) == {seal}
    assert seal not in cluster.acls()
    assert others <= cluster.acls()
    assert cluster.delete_acls([seal]) == frozenset()
    assert cluster.delete_acls(others) == others


def test_no_rules_are_no_change(cluster: Cluster) -> None:
    before = cluster.acls()
    cluster.create_acls([])
    assert cluster.delete_acls([]) == frozenset()
    assert cluster.acls() == before


@pytest.mark.kafka
def test_a_cluster_without_an_authorizer_says_so(real_cluster: KafkaCluster, pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--kafka") not in ("embedded", "container"):
        pytest.skip("the cluster that --kafka names may have an authorizer")
    with pytest.raises(AclsUnavailable):
        real_cluster.acls()


def test_a_rule_in_words_that_kafka_does_not_know_is_refused() -> None:
    with KafkaCluster(Connection.load(bootstrap="127.0.0.1:1")) as cluster, pytest.raises(RejectedByBroker, match="GLANCE"):
        cluster.create_acls([Acl("User:mover", "glance", "topic", "t")])
