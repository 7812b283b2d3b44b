"""cutover's own client behind the suite's contract: JSON lines in, JSON lines out. The example for other languages."""

import json
import sys
import threading
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from cutover.client import Consumer, Producer


def say(event: str, **told: object) -> None:
    """One line of output."""
    sys.stdout.write(json.dumps({"event": event, **told}) + "\n")
    sys.stdout.flush()


def settings(start: dict[str, Any]) -> dict[str, Any]:
    """What `start` says, in this client's words."""
    return {
        "bootstrap.servers": start["bootstrap"],
        "cutover.control.topic": start["control"],
        "cutover.instance": start["instance"],
        "cutover.hold.timeout": start["patience_seconds"],
        "cutover.start.timeout": start["patience_seconds"],
    }


def produce(start: dict[str, Any]) -> None:
    """Write what each command says; `acked` and `refused` are said when that is known."""
    producer = Producer({**settings(start), "cutover.topic": start["topic"], "partitioner": "murmur2"})

    def one(value: str, key: str) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                say("refused", value=value, why=error.str())
            else:
                say("acked", value=value, topic=message.topic(), partition=message.partition(), offset=message.offset())

        try:
            producer.produce(start["topic"], value, key, on_delivery=delivered)
            producer.flush(5)
        except KafkaException as error:
            say("refused", value=value, why=str(error))

    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "close":
            break
        threading.Thread(target=one, args=(command["value"], command["key"]), daemon=True).start()
    producer.close()
    say("closed")


def consume(start: dict[str, Any]) -> None:
    """Say what is handed out; each record counts as worked on when the next is asked for."""
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    consumer = Consumer({**settings(start), "group.id": start["group"], "auto.offset.reset": "earliest"})
    consumer.subscribe([start["topic"]])
    while not ended.is_set():
        try:
            message = consumer.poll(0.1)
        except KafkaException as error:
            say("refused", why=str(error))
            continue
        if message is not None and message.error() is None:
            value = message.value() or b""
            say("received", value=value.decode(), topic=message.topic(), partition=message.partition(), offset=message.offset())
    consumer.close()
    say("closed")


if __name__ == "__main__":
    first = json.loads(sys.stdin.readline())
    (produce if first["role"] == "producer" else consume)(first)
