"""Rules of strategy dual_write: who may write both topics, what nobody can see, and what transactions lean on."""

from dataclasses import replace
from typing import Any

import pytest

from cutover.model import Acl, Permission, TopicPartition
from cutover.plan import Plan
from cutover.preflight import Severity
from cutover.preflight.dual_access import ID as ACCESS
from cutover.preflight.dual_order import ID as ORDER
from cutover.preflight.dual_transactions import UNEXPLAINED, WEAKER
from cutover.preflight.survey import TRANSACTION_LOG
from cutover.protocol import ControlState, Join, Role
from tests.unit.preflight.scene import Scene, judged, plan

WHO = "User:order-service"
ON_SOURCE = Acl(WHO, "write", "topic", "orders")
ON_TARGET = Acl(WHO, "write", "topic", "orders.v2")
IDS = Acl(WHO, "write", "transactional_id", "cutover.dual.", pattern="prefixed")
WRITE_IDS, DESCRIBE_IDS = "write on transactional_id cutover.dual.*", "describe on transactional_id cutover.dual.*"
DENIED = Permission.DENY


def dual(**changed: object) -> Plan:
    return plan(strategy="dual_write", **changed)


def lacks(*acls: Acl) -> tuple[Severity, Any] | None:
    finding = judged(replace(Scene().look(), acls=frozenset(acls)), dual()).get(ACCESS)
    return None if finding is None else (finding.severity, finding.facts["lacks"])


@pytest.mark.parametrize(
    "acls",
    [
        (ON_SOURCE, ON_TARGET, IDS),
        (ON_SOURCE, IDS),  # the target gets the rules that name the source
        (replace(ON_SOURCE, resource="orders", pattern="prefixed"), replace(IDS, resource="*", pattern="literal")),
        (replace(ON_SOURCE, resource="*", operation="all"), replace(IDS, resource="cutover.", operation="all")),
        (ON_SOURCE, replace(ON_TARGET, principal="User:*"), replace(IDS, principal="User:*")),
        (ON_SOURCE, ON_TARGET, IDS, Acl(WHO, "read", "topic", "orders.v2", DENIED)),
    ],
)
def test_who_may_write_both_in_transactions_is_no_finding(acls: tuple[Acl, ...]) -> None:
    assert lacks(*acls) is None


@pytest.mark.parametrize(
    ("acls", "missing"),
    [
        ((ON_SOURCE, ON_TARGET), [WRITE_IDS, DESCRIBE_IDS]),
        ((ON_SOURCE, ON_TARGET, replace(IDS, principal="User:another")), [WRITE_IDS, DESCRIBE_IDS]),
        ((ON_SOURCE, ON_TARGET, replace(IDS, operation="describe")), [WRITE_IDS]),
        ((ON_SOURCE, ON_TARGET, replace(IDS, pattern="literal")), [WRITE_IDS, DESCRIBE_IDS]),
        ((ON_SOURCE, ON_TARGET, replace(IDS, resource="cutover.dual.orders-1")), [WRITE_IDS, DESCRIBE_IDS]),
        ((ON_SOURCE, ON_TARGET, IDS, replace(IDS, resource="cutover.dual.orders-1", permission=DENIED)), [WRITE_IDS]),
        ((ON_SOURCE, ON_TARGET, IDS, replace(ON_TARGET, permission=DENIED)), ["write on topic orders.v2"]),
        ((ON_SOURCE, ON_TARGET, IDS, replace(IDS, operation="all", permission=DENIED)), [WRITE_IDS, DESCRIBE_IDS]),
    ],
)
def test_what_a_writer_of_the_source_lacks_to_write_both_is_red(acls: tuple[Acl, ...], missing: list[str]) -> None:
    assert lacks(*acls) == (Severity.RED, missing)


def test_whom_no_rule_names_may_be_a_super_user() -> None:
    assert lacks(IDS) == (Severity.AMBER, ["write on topic orders", "write on topic orders.v2"])


def test_access_is_not_judged_without_an_authorizer_a_principal_or_the_strategy() -> None:
    guarded = replace(Scene().look(), acls=frozenset({ON_SOURCE}))
    nameless = [{"name": "order-service", "owner": "team-orders", "switch": "sdk"}]
    own = [{**nameless[0], "switch": "own_dual_write", "principal": WHO}]
    assert ACCESS in judged(guarded, dual())
    assert ACCESS not in judged(guarded, plan())
    assert ACCESS not in judged(guarded, dual(producers=nameless))
    assert ACCESS not in judged(guarded, dual(producers=own, groups=[]))
    assert ACCESS not in judged(replace(guarded, acls=None), dual())


def test_one_writer_at_a_time_for_each_key_is_for_a_person_to_say() -> None:
    found = Scene().found(dual())
    assert found[ORDER].severity is Severity.AMBER
    assert ORDER not in Scene().found()


@pytest.mark.parametrize(("replicas", "insync", "weaker"), [(3, "2", False), (3, "1", True), (1, "1", True), (1, "2", True)])
def test_a_log_of_transactions_that_survives_less_than_the_source_is_amber(replicas: int, insync: str, weaker: bool) -> None:
    scene = Scene()
    scene.twin.create_topic(TRANSACTION_LOG, 10, replication_factor=replicas, configs={"min.insync.replicas": insync})
    assert (WEAKER in scene.found(dual())) is weaker
    assert WEAKER not in scene.found()


def test_a_cluster_where_nobody_has_used_a_transaction_yet_is_not_judged() -> None:
    assert WEAKER not in Scene().found(dual())


def test_producer_ids_that_no_instance_explains_are_noted() -> None:
    scene = Scene()
    joined = Join(instance="orders-1", session="7f", topic="orders", role=Role.PRODUCER)
    log = ControlState().then(0, joined)
    assert UNEXPLAINED not in scene.found(dual(), log)
    assert scene.found(dual())[UNEXPLAINED].severity is Severity.NOTE
    scene.twin.append(TopicPartition("orders", 0), b"k", b"v", producer=scene.twin.idempotent_producer())
    finding = scene.found(dual(), log)[UNEXPLAINED]
    assert (len(finding.facts["producer_ids"]), finding.facts["joined"]) == (2, ["orders-1"])
    assert UNEXPLAINED not in scene.found(plan(), log)
