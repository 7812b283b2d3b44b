"""A program that writes without pause until it is told to end, and then says what became of each record. Tests freeze it."""

import json
import signal
import sys
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from cutover.client import Producer

TRANSACTION_RECORDS = 20


class Writer:
    """Counts values up; `acked` and `failed` are what the library told of each."""

    def __init__(self, configuration: dict[str, Any], topic: str) -> None:
        self.producer = Producer(configuration)
        self.transactional = "transactional.id" in configuration
        self.topic = topic
        self.number = 0
        self.ended = False
        self.acked: dict[str, tuple[str, int, int]] = {}
        self.failed: dict[str, str] = {}
        self.fatal: str | None = None

    def told(self, error: KafkaError | None, message: Message) -> None:
        """What became of a record."""
        value = (message.value() or b"").decode()
        if error is not None:
            self.failed[value] = error.name()
        else:
            self.acked[value] = (message.topic() or "", message.partition() or 0, message.offset() or 0)

    def one(self) -> None:
        """Write the next record."""
        self.producer.produce(self.topic, str(self.number), f"key-{self.number % 13}", on_delivery=self.told)
        self.number += 1
        self.producer.poll(0.001)

    def run(self) -> None:
        """Write until the end, or until the library says that nothing more can be written."""
        try:
            if self.transactional:
                self.producer.init_transactions(30)
            while not self.ended:
                self.transaction() if self.transactional else self.one()
            self.producer.flush(60)
        except KafkaException as error:
            self.fatal = error.args[0].name()

    def transaction(self) -> None:
        """Write some records in one transaction."""
        self.producer.begin_transaction()
        for _ in range(TRANSACTION_RECORDS):
            self.one()
        self.producer.commit_transaction(60)


def main() -> None:
    """Configuration and topic come as the first line; a first record says that the program writes."""
    start = json.loads(sys.stdin.readline())
    writer = Writer(start["configuration"], start["topic"])

    def end(*_: object) -> None:
        writer.ended = True

    signal.signal(signal.SIGTERM, end)
    sys.stdout.write("writing\n")
    sys.stdout.flush()
    writer.run()
    json.dump({"sent": writer.number, "acked": writer.acked, "failed": writer.failed, "fatal": writer.fatal}, sys.stdout)


if __name__ == "__main__":
    main()
