from pathlib import Path

import pytest

from cutover.kafka.embedded.properties import ClusterSpec, Ports, Security, as_text, client_properties, listener_names, server_properties
from cutover.kafka.embedded.tls import Authority

FOLDER = Path("/data/broker-1")


def properties(spec: ClusterSpec, node: int = 1, authority: Authority | None = None) -> dict[str, str]:
    names = listener_names(spec)
    ports = {n: Ports({name: 1000 * n + i for i, name in enumerate(names)}) for n in range(1, spec.brokers + 1)}
    return server_properties(spec, node, ports, FOLDER, authority)


@pytest.mark.parametrize("brokers", [1, 3])
def test_nothing_but_the_loopback_address_is_bound(brokers: int, tmp_path: Path) -> None:
    secured = ClusterSpec(brokers, security=Security(), listeners={"PROXIED": dict.fromkeys((1, 2, 3), 9)})
    for spec, authority in ((ClusterSpec(brokers), None), (secured, Authority(tmp_path))):
        addresses = properties(spec, authority=authority)["listeners"].split(",")
        assert len(addresses) == len(listener_names(spec))
        assert all("://127.0.0.1:" in address for address in addresses)


def test_one_broker_keeps_one_copy_and_three_keep_three_of_which_two_must_answer() -> None:
    one, three = properties(ClusterSpec(1)), properties(ClusterSpec(3))
    copies = ["default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"]
    assert [one[f"{name}.replication.factor"] for name in copies] == ["1"] * 4
    assert [three[f"{name}.replication.factor"] for name in copies] == ["3"] * 4
    assert (one["min.insync.replicas"], three["min.insync.replicas"]) == ("1", "2")
    assert three["controller.quorum.voters"] == "1@127.0.0.1:1001,2@127.0.0.1:2001,3@127.0.0.1:3001"


def test_a_listener_behind_a_proxy_advertises_the_port_of_the_proxy() -> None:
    made = properties(ClusterSpec(1, listeners={"PROXIED": {1: 777}}))
    assert "PROXIED://127.0.0.1:1002" in made["listeners"].split(",")
    assert "PROXIED://127.0.0.1:777" in made["advertised.listeners"].split(",")


def test_what_was_asked_for_wins_over_the_defaults() -> None:
    assert properties(ClusterSpec(1, config={"auto.create.topics.enable": "true"}))["auto.create.topics.enable"] == "true"


def test_topics_are_not_made_by_accident_and_groups_do_not_wait() -> None:
    made = properties(ClusterSpec())
    assert made["auto.create.topics.enable"] == "false"
    assert made["group.initial.rebalance.delay.ms"] == "0"


def test_a_client_gets_a_certificate_only_where_one_is_demanded(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    without = client_properties(Security(users={"alice": "secret"}), authority, "alice", "PLAIN")
    demanded = client_properties(Security(users={"alice": "secret"}, client_certificates=True), authority, "alice", "PLAIN")
    assert without == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(authority.ca),
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": "secret",
    }
    assert demanded["ssl.certificate.location"] == str(tmp_path / "alice.pem")


def test_the_admin_gets_a_password_of_its_own_in_each_cluster() -> None:
    assert Security().users["admin"] != Security().users["admin"]
    assert Security(users={"admin": "mine"}).users == {"admin": "mine"}


@pytest.mark.parametrize("odd", ['quo"te', "semi;colon", "", "com,ma", "brack]et"])
def test_a_password_that_would_change_the_configuration_is_refused(odd: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        Security(users={"alice": odd})


def test_a_backslash_survives_the_properties_format() -> None:
    assert as_text({"key": "a\\b"}) == "key=a\\\\b\n"
