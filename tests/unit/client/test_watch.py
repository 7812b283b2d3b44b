"""An instance that follows the log goes on while nobody answers its question for the control topic's id."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from cutover.client.log import ControlTopic, Unanswered, Unfollowable
from cutover.client.settings import split
from cutover.client.watch import View, Watch
from cutover.protocol import Join, Role

SETTINGS = split(({"bootstrap.servers": "127.0.0.1:9", "cutover.topic": "S", "cutover.identity.seconds": 0, "log_level": 0},), {})
SILENT = [KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.REQUEST_TIMED_OUT]
SAID = [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED]


def failed(code: int) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(KafkaException(KafkaError(code)))
    return future


class Owner:
    def heard(self, view: View) -> None:
        """Nothing follows from it."""


@pytest.mark.parametrize("code", SILENT)
def test_who_gets_no_answer_asks_another_time_by_new_connections(code: int) -> None:
    topic = ControlTopic(SETTINGS)
    admin = topic._admin
    with pytest.raises(Unanswered):
        topic.identity(failed(code))
    assert topic._admin is not admin


@pytest.mark.parametrize("code", SAID)
def test_a_topic_that_is_missing_or_hidden_is_an_answer(code: int) -> None:
    topic = ControlTopic(SETTINGS)
    with pytest.raises(Unfollowable) as found:
        topic.identity(failed(code))
    assert not isinstance(found.value, Unanswered)


@pytest.mark.parametrize(("code", "goes_on"), [*((each, True) for each in SILENT), *((each, False) for each in SAID)])
def test_only_an_answer_stops_an_instance_that_follows_the_log(code: int, goes_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner()
    watch = Watch(SETTINGS, owner.heard, Join(instance="a", session="", topic="", role=Role.PRODUCER))
    monkeypatch.setattr(watch.topic, "ask_identity", lambda: failed(code))
    watch._identity_due()
    assert watch._asked_identity is not None
    if goes_on:
        watch._identity_due()
        assert watch._asked_identity is None
    else:
        with pytest.raises(Unfollowable):
            watch._identity_due()
