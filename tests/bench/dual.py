"""What mode DUAL costs: milliseconds from produce() to the delivery callback, beside the same producer in SOURCE.

One thread produces at a steady rate and polls; rounds in SOURCE and in DUAL alternate. Then records a second as fast as they go, and how
long producers are held on the way into DUAL and out of it. `python tests/bench/dual.py`.
"""

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError, Message
from confluent_kafka.admin import AdminClient

sys.path.insert(0, str(Path(__file__).parents[2]))

from cutover.client import Producer
from cutover.kafka.embedded import EmbeddedKafka
from cutover.protocol import Mode
from tests.conformance.driving import Driver, make_control_topic, make_topic

VALUE = b"v" * 200
RATES = (100, 1000, 3000)
ROUND_SECONDS = 3.0
ROUNDS = 5
BURST = 30_000


def latencies(producer: Producer, topic: str, rate: int, seconds: float = ROUND_SECONDS) -> list[float]:
    """Milliseconds from each produce() to its callback, at so many records a second."""
    found: list[float] = []

    def told(began: float, error: KafkaError | None, _: Message) -> None:
        assert error is None, error.str()
        found.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        while (left := began + number / rate - time.perf_counter()) > 0:
            producer.poll(left)
        producer.produce(topic, VALUE, b"key-%d" % (number % 997), on_delivery=partial(told, time.perf_counter()))
    assert producer.flush(60) == 0
    return found


def burst(producer: Producer, topic: str) -> float:
    """Records a second when nobody waits."""
    began = time.perf_counter()
    for number in range(BURST):
        producer.produce(topic, VALUE, b"key-%d" % (number % 997))
        if number % 500 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0
    return BURST / (time.perf_counter() - began)


def enter(driver: Driver, to: Mode) -> float:
    """Milliseconds from HOLD being readable here to its ACK being readable here; producers are in `to` then."""
    term = driver.hold(to, 20_000)
    began = time.perf_counter()
    problems = [ack.problem for ack in driver.all_held().values()]
    taken = (time.perf_counter() - began) * 1000
    assert problems == [None], problems
    driver.release(term, to)
    return taken


def quantile(found: list[float], share: float) -> float:
    """The figure below which so many are."""
    return sorted(found)[min(len(found) - 1, int(len(found) * share))]


def measure(bootstrap: str, rounds: int = ROUNDS) -> dict[str, float]:
    """All figures: milliseconds, and records a second."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    control, source, target = make_control_topic(admin), make_topic(admin, "bench", 6), make_topic(admin, "bench", 24)
    settings = {"bootstrap.servers": bootstrap, "partitioner": "murmur2", "cutover.control.topic": control, "cutover.topic": source}
    taken: dict[str, list[float]] = {}
    with Driver(bootstrap, control) as driver, Producer(settings) as producer:
        driver.open(source, target)
        driver.joined(1)
        for _ in range(rounds):
            for to in (Mode.DUAL, Mode.SOURCE):
                taken.setdefault(f"hold_to_{to}_ms", []).append(enter(driver, to))
                for rate in RATES:
                    taken.setdefault(f"{to}_{rate}", []).extend(latencies(producer, source, rate))
                taken.setdefault(f"burst_{to}", []).append(burst(producer, source))
    told = {name: statistics.median(found) for name, found in taken.items() if name.startswith(("hold", "burst"))}
    for rate in RATES:
        for share in (0.5, 0.99):
            dual, plain = (quantile(taken[f"{to}_{rate}"], share) for to in (Mode.DUAL, Mode.SOURCE))
            told |= {f"p{share * 100:.0f}_dual_{rate}": dual, f"p{share * 100:.0f}_source_{rate}": plain}
    return told


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", help="HOST:PORT; without it an embedded Kafka is started")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    if chosen.kafka:
        told = measure(chosen.kafka, chosen.rounds)
    else:
        with EmbeddedKafka() as kafka:
            told = measure(kafka.bootstrap_servers, chosen.rounds)
    for name, figure in told.items():
        print(f"{name:24} {figure:10.1f}")


if __name__ == "__main__":
    main()
