"""How long producers wait in a flip: instances of the client library under load, flips back and forth, each with a verified cut.

`python tests/bench/flips.py [--flips 50] [--instances 8] [--rate 10000]` prints a table; docs/benchmarks.md takes it from there.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutover import flip, goals, opening, wiring
from cutover.connection import Connection
from cutover.errors import FlipUndone
from cutover.kafka.embedded import EmbeddedKafka
from cutover.lifecycle import Stage
from cutover.plan import Plan
from cutover.protocol import CONTROL_TOPIC, Mode, Role
from cutover.rehearsal.traffic import Traffic, TrafficProcess
from cutover.stages.provisioned import CONTROL
from cutover.world import World
from tests.judge import compare_topics

SOURCE, TARGET = "orders", "orders.v2"
BETWEEN_SECONDS = 1.0
INSTANCES = 8
RATE = 10_000
PARTS = ("hold_written", "held", "quiet", "drained", "cut", "verified", "released")


def plan_of(bootstrap: str, instances: int) -> Plan:
    """A plan whose hold is the default budget."""
    return Plan.model_validate(
        {
            "cutover": "bench",
            "cluster": {"bootstrap": bootstrap},
            "source": {"topic": SOURCE},
            "target": {"topic": TARGET, "partitions": 24},
            "partitioner": "murmur2",
            "producers": [{"name": "tellers", "owner": "team-bench", "switch": "sdk", "instances": instances}],
            "budgets": {"quarantine": "0s", "mirror_lag_for": "1s"},
            "acknowledged": ["CUT-PRE-005", "CUT-PRE-015"],
        }
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share lies."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def flips(world: World, count: int) -> tuple[list[dict[str, Any]], int]:
    """Flip back and forth; what each was like, with its window on the monotonic clock, and how many attempts were undone."""
    done: list[dict[str, Any]] = []
    undone = 0
    while len(done) < count:
        rest = time.monotonic() + BETWEEN_SECONDS
        while time.monotonic() < rest or not _ready(world):
            world.beat()
            time.sleep(0.005)
        to = Mode.TARGET if world.pair.mode is Mode.SOURCE else Mode.SOURCE
        attempt = flip.Attempt(world, to)
        try:
            found = attempt.run()
        except FlipUndone as error:
            undone += 1
            print("undone:", error.what, error.why, file=sys.stderr)
            continue
        found["window"] = (attempt.timeline.began, time.monotonic())
        done.append(found)
        world.keeper.keep(audit=True)
    return done, undone


def _ready(world: World) -> bool:
    world.keeper.keep(audit=True)
    try:
        flip.prepare(world)
    except FlipUndone:
        return False
    return True


def gaps_of(done: Sequence[dict[str, Any]], folder: Path) -> list[float]:
    """The longest gap of each producer in each flip; one that was too short to be noted counts as the shortest noted one."""
    books = [json.loads(path.read_text())["gaps"] for path in folder.glob("*.acknowledged")]
    longest = []
    for each in done:
        begin, end = each["window"]
        longest += [max((ms for at, ms in gaps if begin <= at <= end + 1.0), default=15.0) for gaps in books]
    return longest


def measure(count: int, instances: int, rate: float) -> dict[str, Any]:
    """One run; everything it found."""
    with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory() as place:
        folder, bootstrap = Path(place), kafka.bootstrap_servers
        connection = Connection.of({"bootstrap.servers": bootstrap})
        with wiring.cluster(connection) as cluster:
            cluster.create_topic(SOURCE, 6, replication_factor=1)
            cluster.create_topic(CONTROL_TOPIC, 1, replication_factor=1, configs=CONTROL)
        told = [Traffic(bootstrap, SOURCE, f"teller-{n}", rate / instances, library="sdk", folder=place) for n in range(1, instances + 1)]
        producers = [TrafficProcess(each) for each in told]
        try:
            with opening.world(
                plan_of(bootstrap, instances), connection, f"sqlite:///{folder / 'j.db'}", "bench", tell=lambda _: None
            ) as opened:
                world = opened.world
                goals.go_forward(world, Stage.MOVING_GROUPS)
                opened.driver(_sleep, lambda *_: None).drive()
                while len(world.log.state.members(world.run_id, Role.PRODUCER)) < instances:
                    world.beat()
                done, undone = flips(world, count)
                sent = [each.stop() for each in producers]
                acknowledged = sum(each.acknowledged for each in sent)
                rest = time.monotonic() + 3
                while time.monotonic() < rest:
                    world.beat()
                    time.sleep(0.01)
                differences = compare_topics(bootstrap, SOURCE, TARGET, acknowledged)
                world.keeper.end("measured")
        finally:
            for each in producers:
                each.kill()
        return {
            "flips": len(done),
            "undone": undone,
            "acknowledged": acknowledged,
            "failed": sum(each.failed for each in sent),
            "differences": differences,
            "gaps_ms": gaps_of(done, folder),
            "parts": [each["ms"] for each in done],
        }


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def table(found: dict[str, Any]) -> str:
    """The table of the page."""
    gaps = found["gaps_ms"]
    lines = ["| ms since HOLD was asked for | p50 | p99 | max |", "|---|---|---|---|"]
    for part in PARTS:
        values = [each[part] for each in found["parts"]]
        lines.append(f"| {part.replace('_', ' ')} | {statistics.median(values):.0f} | {quantile(values, 0.99):.0f} | {max(values):.0f} |")
    lines.append(
        f"| **longest gap of a producer** ({len(gaps)}) | {statistics.median(gaps):.0f} | {quantile(gaps, 0.99):.0f} | {max(gaps):.0f} |"
    )
    return "\n".join(lines)


def section(found: dict[str, Any] | None) -> str:
    """The table, and what was judged at the end."""
    if found is None:
        return "Not measured in this run."
    equal = "yes" if not found["differences"] else f"no: {found['differences'][:5]}"
    return (
        f"{table(found)}\n\n{found['flips']} flips, {found['undone']} attempts undone; {found['acknowledged']:,} records acknowledged,"
        f" {found['failed']} failed; both topics hold them all, equal per key: {equal}."
    )


def main() -> int:
    """Measure and print; 5 where the topics differ."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--flips", type=int, default=50)
    options.add_argument("--instances", type=int, default=INSTANCES)
    options.add_argument("--rate", type=float, default=RATE)
    asked = options.parse_args()
    found = measure(asked.flips, asked.instances, asked.rate)
    print(section(found))
    return 5 if found["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
