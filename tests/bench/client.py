"""What the client library costs beside the plain client: paired rounds, alternating, on one topic. `python tests/bench/client.py`.

Without a pair produce() is the plain client's own method; with one every record goes through the gate. And how long a HOLD takes.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import confluent_kafka
from confluent_kafka.admin import AdminClient

sys.path.insert(0, str(Path(__file__).parents[2]))

from cutover.client import Producer
from cutover.kafka.embedded import EmbeddedKafka
from cutover.protocol import Mode
from tests.conformance.driving import Driver, make_control_topic, make_topic

VALUE = b"v" * 200
RECORDS = 30_000
ROUNDS = 25
HOLDS = 20
Clock = Callable[[], float]
TITLES = {
    "plain_itself": "a second plain client: what differs from 1 here is noise",
    "without_pair": "ours, no pair",
    "with_pair": "ours, a pair, every record through the gate",
    "plain_itself_whole": "a second plain client, to the last acknowledgement",
    "without_pair_whole": "ours, no pair, to the last acknowledgement",
    "with_pair_whole": "ours, a pair, to the last acknowledgement",
}


def seconds(producer: confluent_kafka.Producer, topic: str, records: int, clock: Clock = time.perf_counter) -> float:
    """From the first produce() to the last acknowledgement."""
    began = clock()
    for number in range(records):
        producer.produce(topic, VALUE, b"key-%d" % (number % 997))
        if number % 500 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0
    return clock() - began


def calls(producer: confluent_kafka.Producer, topic: str, records: int, clock: Clock = time.thread_time) -> float:
    """In the produce() calls alone, by the calling thread's own time."""
    began = clock()
    for number in range(records):
        producer.produce(topic, VALUE, b"key-%d" % (number % 997))
    taken = clock() - began
    assert producer.flush(60) == 0
    return taken


def ratio(
    ours: confluent_kafka.Producer,
    plain: confluent_kafka.Producer,
    topic: str,
    *,
    rounds: int = ROUNDS,
    records: int = RECORDS,
    clock: Clock = time.perf_counter,
    of: Callable[..., float] = seconds,
) -> float:
    """The median over rounds of our time to the plain client's; who goes first alternates."""
    for each in (ours, plain):
        of(each, topic, records)
    found = []
    for number in range(rounds):
        pair = (ours, plain) if number % 2 else (plain, ours)
        took = {id(each): of(each, topic, records, clock) for each in pair}
        found.append(took[id(ours)] / took[id(plain)])
    return statistics.median(found)


def both(ours: confluent_kafka.Producer, plain: confluent_kafka.Producer, topic: str, rounds: int, name: str) -> dict[str, float]:
    """The calls alone, and the whole way to the last acknowledgement."""
    return {
        name: ratio(ours, plain, topic, rounds=rounds, clock=time.thread_time, of=calls),
        f"{name}_whole": ratio(ours, plain, topic, rounds=rounds),
    }


def holds(driver: Driver, producer: Producer, topic: str, times: int = HOLDS) -> list[float]:
    """Milliseconds from HOLD being readable here to its ACK being readable here, while records are written."""
    found = []
    for _ in range(times):
        for number in range(200):
            producer.produce(topic, VALUE, b"key-%d" % number)
        term = driver.hold()
        began = time.perf_counter()
        driver.all_held()
        found.append((time.perf_counter() - began) * 1000)
        driver.undo(term)
    return sorted(found)


def measure(bootstrap: str, rounds: int = ROUNDS) -> dict[str, float]:
    """All figures: ratios, and milliseconds of a HOLD."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    control, source, target = make_control_topic(admin), make_topic(admin, "bench", 6), make_topic(admin, "bench", 24)
    common = {"bootstrap.servers": bootstrap, "partitioner": "murmur2", "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    plain, control_plain = confluent_kafka.Producer(common), confluent_kafka.Producer(common)
    ours = Producer({**common, "cutover.topic": source, "cutover.control.topic": control})
    with Driver(bootstrap, control) as driver:
        driver.joined(1)
        told = both(control_plain, plain, source, rounds, "plain_itself") | both(ours, plain, source, rounds, "without_pair")
        driver.open(source, target)
        driver.until(lambda: "produce" not in vars(ours), "the pair is heard")
        told |= both(ours, plain, source, rounds, "with_pair")
        taken = holds(driver, ours, source)
        told |= {"hold_p50_ms": statistics.median(taken), "hold_max_ms": taken[-1]}
        driver.flip(Mode.TARGET)
    ours.close()
    return told


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", help="HOST:PORT; without it an embedded Kafka is started")
    chosen = parser.parse_args()
    if chosen.kafka:
        told = measure(chosen.kafka)
    else:
        with EmbeddedKafka() as kafka:
            told = measure(kafka.bootstrap_servers)
    for name, figure in told.items():
        print(f"{name:20} {figure:8.3f}")


if __name__ == "__main__":
    main()
