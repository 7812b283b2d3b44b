"""Side-by-side measurements on one embedded broker; prints tables and writes docs/benchmarks.md. `--quick` for a smoke of a minute."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cutover.engine.configuration import MirrorConfiguration, Topic
from tests.bench import audit, ceiling, client, dual_audit, flips, latency, memory, mirror, report, strategies, streams, translate
from tests.bench.copies import Copy
from tests.bench.ground import ROOT, Ground
from tests.bench.results import CODECS, Pairing, Results, targets

SUBJECTS = ("copies", "dual_audits", "latency", "memory", "client", "flips", "strategies")
BEGAN = time.monotonic()


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    records: int
    rounds: int
    latency_seconds: float
    backlog: int
    heap_mb: int
    flips: int
    rounds_of_calls: int = client.ROUNDS
    many_partitions: bool = False


QUICK = Size(records=20_000, rounds=1, latency_seconds=2, backlog=50_000, heap_mb=512, flips=3, rounds_of_calls=1)
USUAL = Size(records=1_000_000, rounds=3, latency_seconds=30, backlog=3_000_000, heap_mb=2048, flips=50)
FULL = Size(records=1_000_000, rounds=3, latency_seconds=30, backlog=10_000_000, heap_mb=2048, flips=50, many_partitions=True)


def say(words: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"[{time.monotonic() - BEGAN:4.0f} s] {words}\n")
    sys.stderr.flush()


def measure(size: Size, subjects: tuple[str, ...]) -> Results:
    """Everything that was asked for, one after another, on one broker."""
    found = Results(size.records)
    say("starting the broker and building the peers")
    with Ground(size.heap_mb) as ground:
        if "copies" in subjects:
            copies(ground, size, found)
        if "dual_audits" in subjects:
            pairings(ground, size, found)
        if "latency" in subjects:
            say(f"latency at {latency.PER_SECOND:,} records/s for {size.latency_seconds:g} s")
            found.latency = latency.added(ground, size.latency_seconds, warm_up=min(10, size.latency_seconds))
        if "memory" in subjects:
            backlogs(ground, size, found)
        if "client" in subjects:
            say("the client library beside the plain client")
            found.client = client.measure(ground.bootstrap, size.rounds_of_calls)
    if "flips" in subjects:
        say(f"{size.flips} flips back and forth under {flips.RATE:,} records/s of {flips.INSTANCES} instances")
        found.flips = flips.measure(size.flips, flips.INSTANCES, flips.RATE)
    if "strategies" in subjects:
        say("each strategy all the way, as the demo plays it")
        found.strategies = strategies.measure()
    return found


def copies(ground: Ground, size: Size, found: Results) -> None:
    """All who copy, in turns: A B C A B C, so that a warmer broker or a busier machine meets everybody."""
    built = streams.build(ground.folder)
    found.streams_missing = built if isinstance(built, str) else ""
    for codec in CODECS:
        origin = ground.filled("orders", 6, size.records, codec)
        say(f"{codec}: a copy to warm the broker up, not counted")
        warm = ground.topic("orders.v2", 24)
        mirror.copy(ground, mirror.configuration(ground, origin, warm), size.records, 1)
        ground.remove(warm)
        for number in range(1, size.rounds + 1):
            say(f"{codec}, round {number} of {size.rounds}")
            a_round(ground, origin, size.records, codec, built, found)
        ground.remove(origin)


def a_round(ground: Ground, origin: Topic, records: int, codec: str, built: streams.Built | str, found: Results) -> None:
    """Each in turn, on a follower of its own; what our mirror made is judged at once."""
    for subject, run in contestants(ground, records, codec, built).items():
        config = mirror.configuration(ground, origin, ground.topic("orders.v2", 24))
        made = run(config)
        found.copies.setdefault((codec, subject), []).append(made)
        say(f"  {report.TITLES[subject]}: {made.rate:,.0f} records/s, {made.cpu_us:.1f} µs CPU/record")
        if subject == "mirror-1":
            found.audits.setdefault(codec, []).append(proof(config, records))
        ground.remove(config.follower)


def contestants(ground: Ground, records: int, codec: str, built: streams.Built | str) -> dict[str, Callable[[MirrorConfiguration], Copy]]:
    """Who takes part in a round; the configuration names the pair for everybody."""
    made: dict[str, Callable[[MirrorConfiguration], Copy]] = {
        "mirror-1": lambda pair: mirror.copy(ground, pair, records, 1),
        "mirror-2": lambda pair: mirror.copy(ground, pair, records, 2),
    }
    if isinstance(built, streams.Built):
        made["streams"] = lambda pair: streams.copy(ground, built, pair.origin, pair.follower, records, codec)
    made["consume"] = lambda pair: ceiling.consume(ground, pair.origin, records)
    made["produce"] = lambda pair: ceiling.produce(ground, pair.follower, records, codec)
    return made


def proof(config: MirrorConfiguration, records: int) -> audit.Judged:
    """The audit of a copy; a benchmark of one that is not equal is worth nothing."""
    judged = audit.judge(config)
    if judged.result != "proved" or judged.origin_records != records:
        raise SystemExit(f"the audit did not prove the copy of {records:,} records: {judged}")
    say(f"  audit of it: {judged.result}, {judged.rate:,.0f} records read/s, {judged.cpu_us:.1f} µs CPU/record")
    return judged


def pairings(ground: Ground, size: Size, found: Results) -> None:
    """Two topics that hold the same records, judged again and again."""
    for codec in CODECS:
        source, target = ground.filled("orders", 6, size.records, codec), ground.filled("orders.v2", 24, size.records, codec)
        for _ in range(size.rounds):
            judged = dual_audit.judge(ground, source, target)
            if judged.result != "proved" or judged.origin_records != size.records:
                raise SystemExit(f"the audit of dual writing did not prove {size.records:,} records: {judged}")
            say(f"{codec}: dual audit {judged.result}, {judged.rate:,.0f} records read/s, {judged.cpu_us:.1f} µs CPU/record")
            found.dual_audits.setdefault(codec, []).append(judged)
        ground.remove(source, target)


def backlogs(ground: Ground, size: Size, found: Results) -> None:
    """A worker that starts far behind; its topics then serve for translations."""
    say(f"a backlog of {size.backlog:,} records, lz4")
    copied, config = memory.backlog(ground, size.backlog, "lz4")
    found.backlogs.append((f"{size.backlog:,} records of 220 B, lz4, 6 → 24", copied))
    say(f"resident at most {copied.peak_bytes / 1e6:.0f} MB, {copied.rate:,.0f} records/s")
    translations(ground, config, size.backlog, found)
    if size.many_partitions:
        say("50 → 200 partitions, 10,000,000 records of 40 B")
        copied, config = memory.backlog(ground, 10_000_000, "none", (50, 200), value_bytes=20)
        found.backlogs.append(("10,000,000 records of 40 B, none, 50 → 200", copied))
        translations(ground, config, 10_000_000, found)


def translations(ground: Ground, config: MirrorConfiguration, records: int, found: Results) -> None:
    """Random positions on the pair of a finished run, which is then removed."""
    ends, follower_ends = ground.ends(config.origin), ground.ends(config.follower)
    answers = translate.measure(config, ends, follower_ends, repetitions=5)
    found.translations.append(Pairing((config.origin.partitions, config.follower.partitions), records, answers))
    say(
        f"translate: {len(answers)} answers in {min(each.seconds for each in answers):.2f} to {max(each.seconds for each in answers):.2f} s"
    )
    ground.remove(config.origin, config.follower)


def main() -> None:
    """Read what was asked for, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little of all but the strategies, to see that it works; writes no page")
    parser.add_argument("--full", action="store_true", help="also a backlog of 10,000,000 records, and 200 partitions")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="this subject alone; may be repeated")
    parser.add_argument("--page", type=Path, help="where the page goes [default: docs/benchmarks.md, of a run of everything]")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL if asked.full else USUAL
    found = measure(size, tuple(asked.only or (SUBJECTS[:-1] if asked.quick else SUBJECTS)))
    text = report.page(found)
    where = asked.page or (None if asked.quick or asked.only else ROOT / "docs" / "benchmarks.md")
    if where is not None:
        where.write_text(text)
        say(f"wrote {where}")
    else:
        sys.stdout.write(text)
    if not asked.quick:
        missed = [each.what for each in targets(found) if each.met is False]
        say("every target that was measured is met" if not missed else f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
