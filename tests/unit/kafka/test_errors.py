"""The table from Kafka's error codes to errors of ours: no answer to a question is Unreachable, to a change Ambiguous."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from cutover.errors import (
    AclsUnavailable,
    CutoverError,
    NoBroker,
    NotAuthenticated,
    NotAuthorized,
    NotReady,
    ReadTimedOut,
    RejectedByBroker,
    TopicExists,
    UnknownTopic,
    WriteUnknown,
)
from cutover.kafka.errors import MEANING, NO_ANSWER, SAYS, Asked, meaning, of_librdkafka, some, unanswered

QUESTION = Asked("reading offsets", "orders", "describe")
CHANGE = Asked("creating a topic", "orders", "create", write=True)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownTopic),
        (KafkaError.UNKNOWN_TOPIC_ID, UnknownTopic),
        (KafkaError._AUTHENTICATION, NotAuthenticated),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, NotAuthorized),
        (KafkaError.NOT_LEADER_FOR_PARTITION, NotReady),
        (KafkaError.TOPIC_ALREADY_EXISTS, TopicExists),
        (KafkaError.SECURITY_DISABLED, AclsUnavailable),
        (KafkaError.POLICY_VIOLATION, RejectedByBroker),
    ],
)
@pytest.mark.parametrize("asked", [QUESTION, CHANGE])
def test_what_the_broker_said_means_the_same_for_a_question_and_a_change(code: int, kind: type[CutoverError], asked: Asked) -> None:
    found = meaning(code, "its words", asked)
    assert type(found) is kind
    assert found.why == "its words"
    assert found.fields == {"resource": "orders", "operation": asked.operation, "kafka_code": code}


@pytest.mark.parametrize("code", sorted(NO_ANSWER))
def test_a_change_without_an_answer_is_never_called_undone(code: int) -> None:
    assert type(meaning(code, "no words", CHANGE)) is WriteUnknown
    assert type(meaning(code, "no words", QUESTION)) in {ReadTimedOut, NoBroker}


def test_a_change_that_was_never_sent_changed_nothing() -> None:
    assert type(meaning(KafkaError._TIMED_OUT, "Failed while waiting for controller: Local: Timed out", CHANGE)) is NoBroker
    assert type(unanswered("the deadline passed", CHANGE, sent=False)) is NoBroker
    assert type(unanswered("the deadline passed", QUESTION, reached=False)) is NoBroker


def test_a_fault_of_the_client_leaves_a_change_in_doubt_and_refuses_a_question() -> None:
    assert type(meaning(KafkaError._FAIL, "odd", CHANGE)) is WriteUnknown
    assert type(meaning(KafkaError._FAIL, "odd", QUESTION)) is RejectedByBroker


def test_both_shapes_of_librdkafkas_errors_are_read() -> None:
    inner = KafkaError(KafkaError.TOPIC_ALREADY_EXISTS)
    assert type(of_librdkafka(inner, CHANGE)) is TopicExists
    assert type(of_librdkafka(KafkaException(inner), CHANGE)) is TopicExists
    assert type(of_librdkafka(KafkaException("words alone"), QUESTION)) is RejectedByBroker


def test_every_meaning_has_its_words() -> None:
    assert set(MEANING.values()) == set(SAYS)


def test_many_names_are_cut_short() -> None:
    assert some(["b", "a"]) == "a, b"
    assert some([str(each) for each in range(9)]) == "0, 1, 2 and 6 more"
