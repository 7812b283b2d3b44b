"""Turns what librdkafka and kafka-python raise into errors of ours: one table, by Kafka's own error codes.

What was asked decides: no answer to a question is Unreachable, no answer to a change is Ambiguous. A code that the table does
not know is a refusal where the broker said it, and an unknown outcome where the client did.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

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

NO_ANSWER: Final = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
    }
)
TRANSACTIONAL_ID_NOT_FOUND: Final = 105

MEANING: Final[dict[int, type[CutoverError]]] = {
    **dict.fromkeys(
        (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_ID),
        UnknownTopic,
    ),
    **dict.fromkeys((KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL), NotAuthenticated),
    **dict.fromkeys(
        (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        NotAuthorized,
    ),
    **dict.fromkeys(
        (
            KafkaError.NOT_LEADER_FOR_PARTITION,
            KafkaError.LEADER_NOT_AVAILABLE,
            KafkaError.REPLICA_NOT_AVAILABLE,
            KafkaError.UNKNOWN_LEADER_EPOCH,
            KafkaError.FENCED_LEADER_EPOCH,
            KafkaError.OFFSET_NOT_AVAILABLE,
            KafkaError._NOENT,  # no leaders found
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
            KafkaError.NOT_COORDINATOR,
            KafkaError.NOT_CONTROLLER,
            TRANSACTIONAL_ID_NOT_FOUND,  # it expired after it was listed: list again
        ),
        NotReady,
    ),
    KafkaError.TOPIC_ALREADY_EXISTS: TopicExists,
    KafkaError.SECURITY_DISABLED: AclsUnavailable,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: in words, of which resource, by which Kafka operation, and whether it changes anything."""

    what: str
    resource: str
    operation: str
    write: bool = False


def some(names: Collection[str]) -> str:
    """Names for a message: the first few."""
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fields(asked: Asked, code: int) -> dict[str, Any]:
    return {"resource": asked.resource, "operation": asked.operation, "kafka_code": code}


def meaning(code: int, said: str, asked: Asked) -> CutoverError:
    """The error of ours for a Kafka error code and the words that came with it."""
    fields = _fields(asked, code)
    kind = MEANING.get(code)
    if kind is not None:
        return kind(f"{asked.what}: {SAYS[kind]} ({asked.resource})", why=said, **fields)
    if code in NO_ANSWER:
        return unanswered(said, asked, reached=code not in {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}, code=code)
    if asked.write and code < 0:
        return WriteUnknown(f"{asked.what}: the outcome is not known ({asked.resource})", why=said, **fields)
    return RejectedByBroker(f"{asked.what}: refused ({asked.resource})", why=said, **fields)


SAYS: Final[dict[type[CutoverError], str]] = {
    UnknownTopic: "there is no such topic or partition",
    NotAuthenticated: "the cluster does not accept the credentials",
    NotAuthorized: "this principal may not",
    NotReady: "the cluster cannot answer yet",
    TopicExists: "there is a topic of this name already",
    AclsUnavailable: "the cluster has no authorizer",
}

NEVER_SENT: Final = ("waiting for controller", "waiting for broker", "waiting for a valid list of brokers")
"""librdkafka's words for a request that it still held back when its time was over."""


def unanswered(said: str, asked: Asked, *, reached: bool = True, sent: bool = True, code: int = KafkaError._TIMED_OUT) -> CutoverError:
    """No answer within the deadline: unknown for a change that was sent, nothing known for everything else."""
    fields = _fields(asked, code)
    never_sent = not sent or any(words in said for words in NEVER_SENT)
    if asked.write and not never_sent:
        return WriteUnknown(f"{asked.what}: no answer, so it may or may not have happened ({asked.resource})", why=said, **fields)
    if never_sent or not reached:
        return NoBroker(f"{asked.what}: no broker could be reached", why=said, **fields)
    return ReadTimedOut(f"{asked.what}: no answer in time ({asked.resource})", why=said, **fields)


def of_librdkafka(error: KafkaException | KafkaError, asked: Asked) -> CutoverError:
    """The error of ours for one of librdkafka's."""
    inner = error.args[0] if isinstance(error, KafkaException) else error
    if not isinstance(inner, KafkaError):
        return meaning(KafkaError._FAIL, str(inner), asked)
    return meaning(inner.code(), inner.str(), asked)
