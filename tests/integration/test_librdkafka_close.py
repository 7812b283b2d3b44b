"""What librdkafka stores at close() on a topic of transactions, and how a member keeps its records: docs/moving-groups.md."""

import pytest
from confluent_kafka import Consumer, Producer

from tests.conftest import MakeTopic

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

TRANSACTIONS = 400
RECORDS_EACH = 5
HANDLED = 50
LIVES = 20
TRIES = 5


def write(bootstrap: str, topic: str, *, in_transactions: bool) -> None:
    """Numbered records, a few in each transaction: after each transaction stands a marker that no application sees."""
    producer = Producer({"bootstrap.servers": bootstrap, **({"transactional.id": f"{topic}-writer"} if in_transactions else {})})
    if in_transactions:
        producer.init_transactions(30)
    for first in range(0, TRANSACTIONS * RECORDS_EACH, RECORDS_EACH):
        if in_transactions:
            producer.begin_transaction()
        for number in range(first, first + RECORDS_EACH):
            producer.produce(topic, str(number).encode())
        if in_transactions:
            producer.commit_transaction(30)
    assert producer.flush(30) == 0


def live(bootstrap: str, topic: str, *, by_hand: bool) -> list[int]:
    """What one life of a member handles: it is closed while more has been fetched than handed out."""
    member = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}-group",
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": not by_hand,
        }
    )
    member.subscribe([topic], on_revoke=lambda *_: None)
    handled: list[int] = []
    while len(handled) < HANDLED:
        message = member.poll(1)
        if message is None or message.error() is not None:
            continue
        handled.append(int(message.value() or b""))
        if by_hand:
            member.store_offsets(message)
    member.close()
    return handled


def skipped(bootstrap: str, topic: str, *, by_hand: bool) -> int:
    """Records that no life of the member handled, below the last that one did; what is still fetched at close() is a race."""
    seen: set[int] = set()
    for _ in range(LIVES):
        seen.update(live(bootstrap, topic, by_hand=by_hand))
        if len(seen) < max(seen) + 1:
            break
    return max(seen) + 1 - len(seen)


@pytest.mark.parametrize(("in_transactions", "by_hand"), [(True, True), (False, False)])
def test_a_member_skips_nothing_that_stores_by_hand_or_reads_no_transactions(
    in_transactions: bool, by_hand: bool, bootstrap: str, topic: MakeTopic
) -> None:
    name = topic(1)
    write(bootstrap, name, in_transactions=in_transactions)
    assert skipped(bootstrap, name, by_hand=by_hand) == 0


@pytest.mark.slow
def test_a_member_that_leaves_its_offsets_to_librdkafka_skips_records_of_transactions(bootstrap: str, topic: MakeTopic) -> None:
    for _ in range(TRIES):
        name = topic(1)
        write(bootstrap, name, in_transactions=True)
        if skipped(bootstrap, name, by_hand=False):
            return
    pytest.fail(f"nothing was skipped in {TRIES} tries: librdkafka may have learned; then docs/moving-groups.md can say so")
