"""A client that is wrong on purpose: it joins and acknowledges, and writes the source whatever the log says. The suite must see it."""

import json
import sys
import threading
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from cutover.protocol import Ack, Hold, Join, Role, parse


def obey(start: dict[str, Any], producer: Producer) -> None:
    """Join, and acknowledge each HOLD at once, without stopping."""
    control, name = start["control"], start["instance"]
    join = Join(instance=name, session="1", topic=start["topic"], role=Role(start["role"]), group=start["group"])
    producer.produce(control, join.encoded(), partition=0)
    reader = Consumer({"bootstrap.servers": start["bootstrap"], "group.id": name, "fetch.wait.max.ms": 50})
    reader.assign([TopicPartition(control, 0, 0)])
    while True:
        message = reader.poll(0.1)
        record = parse(message.value()) if message is not None and message.error() is None else None
        if isinstance(record, Hold):
            producer.produce(control, Ack(instance=name, pair=record.pair, term=record.term).encoded(), partition=0)
        producer.poll(0)


def main() -> None:
    """Write whatever comes."""
    start = json.loads(sys.stdin.readline())
    producer = Producer({"bootstrap.servers": start["bootstrap"], "linger.ms": 0})
    threading.Thread(target=obey, args=(start, producer), daemon=True).start()

    def told(_: object, message: Message) -> None:
        value = (message.value() or b"").decode()
        line = {"event": "acked", "value": value, "topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "close":
            break
        producer.produce(start["topic"], command["value"], command["key"], on_delivery=told)
    producer.flush(5)
    sys.stdout.write('{"event": "closed"}\n')


if __name__ == "__main__":
    main()
