"""`cutover plan new` against real Kafka: what is there is in the plan, the plan lints, and nothing was changed."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from cutover.cli import main
from cutover.plan import load
from tests.conftest import MakeTopic, WaitUntil

pytestmark = pytest.mark.kafka

RECORDS = 600


@contextmanager
def reading(bootstrap: str, group: str, topic: str, wait_until: WaitUntil) -> Iterator[None]:
    """A member that has read everything, committed it, and stays."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "client.id": "balance-reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    read = 0

    def all_read() -> bool:
        nonlocal read
        read += sum(each.error() is None for each in consumer.consume(RECORDS, 0.2))
        return read >= RECORDS

    wait_until(all_read, 60, "the group has read everything")
    consumer.commit(asynchronous=False)
    stop = threading.Event()
    alive = threading.Thread(target=lambda: [consumer.poll(0.1) for _ in iter(stop.is_set, True)])
    alive.start()
    try:
        yield
    finally:
        stop.set()
        alive.join()
        consumer.close()


def test_a_first_plan_from_a_live_cluster_names_what_is_there(
    bootstrap: str, admin: AdminClient, topic: MakeTopic, wait_until: WaitUntil, tmp_path: Path
) -> None:
    source, out = topic(partitions=3), tmp_path / "new.yaml"
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"app-{source}", "partitioner": "murmur2_random"})
    producer.init_transactions(60)
    producer.begin_transaction()
    for number in range(RECORDS):
        producer.produce(source, b"v", b"key-%d" % number)
    producer.commit_transaction(60)
    group = f"readers-{source}"
    with reading(bootstrap, group, source, wait_until):
        found = CliRunner().invoke(main, ["plan", "new", "--from-topic", source, "--bootstrap", bootstrap, "-o", str(out)])
    assert found.exit_code == 0, found.output
    plan, text = load(out, {}), out.read_text()
    assert (plan.source.topic, plan.target.partitions, plan.partitioner) == (source, 12, "murmur2")
    assert group in {each.name for each in plan.groups}
    # librdkafka's position may stand before the marker of the transaction, one on each partition
    seen = r'# classic group, 1 member \("balance-reader"\), positions on 3 partitions, [0-3] offsets? behind\n'
    assert re.search(f"{seen}  - name: {group}\n", text), text
    assert f'transactional id "app-{source}", on 3 partitions' in text
    assert CliRunner().invoke(main, ["plan", "lint", str(out)]).exit_code == 0
    assert f"{source}.v2" not in admin.list_topics(timeout=30).topics
