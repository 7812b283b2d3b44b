"""A confluent-kafka consumer. Arguments: bootstrap, group, topic, client id, protocol, log. Ends when standard input closes.

Each line of the log: topic, partition, offset, key, value, milliseconds.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

POLL_SECONDS = 0.05


def main() -> None:
    bootstrap, group, topic, name, protocol, log = sys.argv[1:]
    closed = threading.Event()
    threading.Thread(target=await_end, args=(closed,), daemon=True).start()
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "group.id": group, "client.id": name, "group.protocol": protocol}
    consumer = Consumer(settings)
    with Path(log).open("a", buffering=1) as out:
        consumer.subscribe([topic])
        while not closed.is_set():
            message = consumer.poll(POLL_SECONDS)
            if message is None or message.error() is not None:
                continue
            key, value = (message.key() or b"").decode(), (message.value() or b"").decode()
            out.write(f"{message.topic()} {message.partition()} {message.offset()} {key} {value} {time.time() * 1000:.0f}\n")
        consumer.close()


def await_end(closed: threading.Event) -> None:
    sys.stdin.read()
    closed.set()


if __name__ == "__main__":
    main()
