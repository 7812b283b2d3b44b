from itertools import product

import pytest
from confluent_kafka import KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from cutover.client.dual import (
    BATCH_BYTES,
    BATCH_RECORDS,
    BATCH_SECONDS,
    PASSING,
    Dual,
    Entry,
    Limits,
    Outcome,
    again,
    applications,
    as_bytes,
    batching,
    outcome,
    refusal,
    wait_seconds,
)
from cutover.stamps import STAMP, Stamp, stamp_of, stamped

DUAL = Dual("p", "S", "T", epoch=3, instance="orders-1", session="7f", partitions=(2, 4), null_keys="keep_partition")
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,20}(/[A-Za-z0-9._-]{1,20})?", fullmatch=True)


def entry(value: bytes = b"value", **more: object) -> Entry:
    told: dict[str, object] = {"timestamp": 1, "headers": stamped(None, DUAL.stamp(1)), "callback": None, "at": 0.0, "partition": -1}
    return Entry(DUAL, value, b"key", **{**told, **more})  # type: ignore[arg-type]


@given(NAMES, NAMES, st.integers(0), st.integers(0))
def test_a_stamp_is_read_back_as_it_was_written(instance: str, session: str, epoch: int, sequence: int) -> None:
    stamp = Stamp(instance, session, epoch, sequence)
    assert stamp_of(stamped([("own", b"1")], stamp)) == stamp


@pytest.mark.parametrize("value", [None, b"", b"a:b:1", b"a:b:1:2:3", b"a:b:x:1", b"a:b:1:-1", b"\xff:b:1:x"])
def test_what_is_no_stamp_is_none(value: bytes | None) -> None:
    assert stamp_of([(STAMP, value)]) is None
    assert stamp_of([("another", b"a:b:1:2")]) is None
    assert stamp_of(None) is None


def test_headers_are_kept_in_their_order_and_of_several_stamps_the_last_counts() -> None:
    old = (STAMP, b"a:b:1:2")
    headers = stamped([("x", b"1"), old, ("x", None)], DUAL.stamp(9))
    assert headers == [("x", b"1"), old, ("x", None), (STAMP, b"orders-1:7f:3:9")]
    assert stamp_of(headers) == Stamp("orders-1", "7f", 3, 9)
    assert stamped({"x": "1"}, DUAL.stamp(9)) == [("x", "1"), (STAMP, b"orders-1:7f:3:9")]


@pytest.mark.parametrize(
    ("count", "size", "oldest", "since_commit", "hurry", "wait"),
    [
        (1, 10, 0.0, 1.0, False, BATCH_SECONDS),
        (1, 10, BATCH_SECONDS / 5, 1.0, False, BATCH_SECONDS * 4 / 5),
        (1, 10, BATCH_SECONDS, 1.0, False, 0),
        (1, 10, 1.0, 0.0, False, BATCH_SECONDS),
        (1, 10, 0.0, 0.0, True, 0),
        (BATCH_RECORDS - 1, 10, 0.0, 0.0, False, BATCH_SECONDS),
        (BATCH_RECORDS, 10, 0.0, 0.0, False, 0),
        (1, BATCH_BYTES - 1, 0.0, 0.0, False, BATCH_SECONDS),
        (1, BATCH_BYTES, 0.0, 0.0, False, 0),
    ],
)
def test_a_batch_is_due_by_its_size_its_age_or_because_somebody_waits(
    count: int, size: int, oldest: float, since_commit: float, hurry: bool, wait: float
) -> None:
    assert wait_seconds(count, size, oldest, since_commit, hurry=hurry) == pytest.approx(wait)


def test_what_became_of_a_transaction_in_every_case() -> None:
    table = {(asked, answered, seen): outcome(asked=asked, answered=answered, seen=seen) for asked, answered, seen in cases()}
    assert table == {
        (False, False, None): Outcome.ABORTED,
        (True, True, None): Outcome.WRITTEN,
        (True, False, True): Outcome.WRITTEN,
        (True, False, False): Outcome.ABSENT,
        (True, False, None): Outcome.UNKNOWN,
    }


def cases() -> list[tuple[bool, bool, bool | None]]:
    """All that can be: nothing is looked at that was answered, nothing is answered that was not asked."""
    every = product((False, True), (False, True), (None, False, True))
    return [each for each in every if (each[0] or not each[1]) and (each[2] is None or (each[0] and not each[1]))]


CODES = [None, *sorted(PASSING), KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("became", Outcome)
def test_only_what_surely_stands_nowhere_is_written_again_and_only_while_the_reason_may_pass(became: Outcome, code: int | None) -> None:
    error = None if code is None else KafkaError(code)
    for age in (0.0, 9.9, 10.0, 99.0):
        expected = became is Outcome.ABORTED and age < 10 and code not in CODES[-2:]
        assert again(became, error, age, 10.0) is expected


@pytest.mark.parametrize("own", [None, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)])
@pytest.mark.parametrize("became", Outcome)
def test_success_is_told_of_written_records_only_and_doubt_of_unknown_ones_only(became: Outcome, own: KafkaError | None) -> None:
    told = refusal(became, own, KafkaError(KafkaError._FENCED))
    assert (told is None) is (became is Outcome.WRITTEN)
    if told is not None:
        assert ("not known" in told.str()) is (became is Outcome.UNKNOWN)
        assert ("neither topic" in told.str()) is (became in {Outcome.ABORTED, Outcome.ABSENT})
    if became is Outcome.ABORTED:
        assert told is not None
        assert told.code() == (own.code() if own else KafkaError._FENCED)


def test_both_reports_make_an_entry_complete_and_the_first_error_counts() -> None:
    one = entry()
    assert not one.reported(None, Message(topic="T"))
    assert one.told().topic() == "S"
    assert one.reported(KafkaError(KafkaError._FAIL), Message(topic="S", offset=4))
    assert one.told().offset() == 4
    assert one.error is not None
    one.afresh()
    assert not [each for each in (one.source, one.target, one.error) if each]


def test_keys_and_values_are_what_the_plain_client_takes() -> None:
    found = [as_bytes("value", each) for each in (None, "é", b"x", bytearray(b"y"), memoryview(b"z"))]
    assert found == [None, "é".encode(), b"x", b"y", b"z"]
    with pytest.raises(TypeError):
        as_bytes("value", 7)


def test_limits_are_those_of_the_plain_client() -> None:
    limits = Limits.of({"queue.buffering.max.messages": 2, "message.timeout.ms": 1500})
    assert limits.patience_seconds == 1.5
    first = entry()
    limits.take(first)
    limits.take(entry())
    with pytest.raises(BufferError):
        limits.take(entry())
    limits.let_go(first)
    limits.take(entry())
    assert limits.waiting == 2
    with pytest.raises(BufferError):
        Limits.of({"queue.buffering.max.kbytes": 1}).take(entry(b"x" * 2000))
    assert Limits.of({"default.topic.config": {"message.timeout.ms": 0}}).patience_seconds == float("inf")
    assert Limits.of({}).patience_seconds == 300


def test_a_transaction_of_the_librarys_own_has_the_applications_configuration_and_what_it_needs() -> None:
    plain = {"bootstrap.servers": "b", "acks": "1", "linger.ms": 60000, "partitioner": "murmur2", "compression.type": "lz4"}
    made = batching({**plain, "default.topic.config": {"acks": 0, "compression.type": "gzip"}, "on_delivery": print}, "orders-1")
    assert {"acks", "linger.ms", "on_delivery"} & made.keys() == set()
    assert made["default.topic.config"] == {"compression.type": "gzip"}
    assert (made["partitioner"], made["compression.type"], made["transactional.id"]) == ("murmur2", "lz4", "cutover.dual.orders-1")
    assert int(made["transaction.timeout.ms"]) <= 5000


def test_a_transaction_of_the_applications_own_has_its_settings_under_an_id_of_ours() -> None:
    made = applications({"transactional.id": "app", "transaction.timeout.ms": 60000, "error_cb": print, "queue.buffering.max.messages": 7})
    assert made == {
        "transactional.id": "cutover.dual.app",
        "transaction.timeout.ms": 60000,
        "queue.buffering.max.messages": 14,
        "queue.buffering.max.kbytes": 2_097_152,
    }
