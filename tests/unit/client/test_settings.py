import pytest

from cutover.client.errors import SettingsWrong
from cutover.client.settings import split, truth
from cutover.protocol import CONTROL_TOPIC


def test_our_keys_are_taken_out_and_the_rest_is_left_as_it_was() -> None:
    found = split(({"bootstrap.servers": "a:1", "linger.ms": 5, "cutover.topic": "orders, payments,orders"},), {"acks": "all"})
    assert found.topics == ("orders", "payments")
    assert dict(found.plain) == {"bootstrap.servers": "a:1", "linger.ms": 5, "acks": "all"}


def test_only_what_reaches_the_cluster_is_shared_with_the_control_log() -> None:
    plain = {"bootstrap.servers": "a:1", "sasl.password": "x", "ssl.ca.location": "y", "linger.ms": 5, "transactional.id": "t", "acks": 1}
    assert set(split((plain,), {}).connection) == {"bootstrap.servers", "sasl.password", "ssl.ca.location"}


def test_the_defaults_are_those_of_the_page() -> None:
    found = split(({},), {})
    assert (found.control_topic, found.hold_seconds, found.start_seconds, found.commit_on_stop) == (CONTROL_TOPIC, 30, 30, None)
    assert found.instance != split(({},), {}).instance


def test_keywords_override_the_dict_as_with_the_plain_client() -> None:
    assert split(({"cutover.topic": "a"},), {"cutover.topic": "b"}).topics == ("b",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cutover.topics": "orders"},
        {"cutover.topic": ["orders"]},
        {"cutover.instance": "two words"},
        {"cutover.control.topic": ""},
        {"cutover.hold.timeout": "soon"},
        {"cutover.start.timeout": -1},
        {"cutover.hold.timeout": float("nan")},
    ],
    ids=str,
)
def test_what_is_not_a_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsWrong):
        split((wrong,), {})


def test_what_is_not_a_dict_is_refused_as_by_the_plain_client() -> None:
    with pytest.raises(TypeError):
        split(("bootstrap",), {})


@pytest.mark.parametrize(("value", "meant"), [(True, True), ("true", True), ("1", True), (False, False), ("false", False), (0, False)])
def test_booleans_are_read_as_librdkafka_reads_them(value: object, meant: bool) -> None:
    assert truth(value) is meant
    assert split(({"cutover.commit.on.stop": value},), {}).commit_on_stop is meant
