"""Puts the results into words: the tables for the terminal and docs/benchmarks.md are the same."""

import datetime
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from cutover.kafka.embedded.jars import read_lock
from cutover.kafka.embedded.java import find_java
from scripts import hatch_build
from tests.bench import client, flips
from tests.bench.audit import Judged
from tests.bench.copies import Copy
from tests.bench.results import CODECS, Results, Spread, targets

PAGE = Path(__file__).with_name("page.md")
TITLES = {
    "mirror-1": "cutover mirror, 1 worker",
    "mirror-2": "cutover mirror, 2 workers",
    "streams": "Kafka Streams, exactly_once_v2",
    "consume": "ceiling: plain consume",
    "produce": "ceiling: plain produce",
}


def page(found: Results) -> str:
    """The whole of docs/benchmarks.md."""
    return Template(PAGE.read_text()).substitute(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine(),
        versions=versions(),
        records=f"{found.records:,}",
        targets=targets_table(found),
        copies="\n\n".join(copies_table(found, codec) for codec in CODECS),
        audit=audit_table(found.audits),
        dual_audit=audit_table(found.dual_audits),
        latency=latency_table(found),
        memory=memory_table(found),
        translate=translate_table(found),
        flips=flips.section(found.flips),
        client=client_table(found),
        strategies=strategies_table(found),
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    made = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([made[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *made[1:]])


def client_table(found: Results) -> str:
    if found.client is None:
        return "Not measured in this run."
    rows = [(words, f"{found.client[name]:.2f}") for name, words in client.TITLES.items()]
    median, longest = found.client["hold_p50_ms"], found.client["hold_max_ms"]
    held = f"A HOLD is answered after {median:.1f} ms (median of {client.HOLDS}; longest {longest:.1f})."
    return f"{table(('to a plain client', 'ratio'), rows)}\n\n{held}"


def strategies_table(found: Results) -> str:
    """One column a strategy; the groups are those of the demo."""
    if found.strategies is None:
        return "Not measured in this run."
    costs = found.strategies.values()
    again = {group: [f"{each.read_again[group]:,}" for each in costs] for group in next(iter(costs)).read_again}
    rows = [
        ("from checked to completed, s", *(f"{each.seconds:.0f}" for each in costs)),
        ("longest gap of a producer, ms", *(f"{each.gap_ms:.0f}" for each in costs)),
        ("records acknowledged", *(f"{each.acknowledged:,}" for each in costs)),
        ("stored twice, offsets", *(f"{each.copied:,}" for each in costs)),
        *((f"read again by {group}", *counts) for group, counts in again.items()),
        ("lost, out of order", *(f"{each.lost}, {each.disordered}" for each in costs)),
    ]
    return table(("", *found.strategies), rows)


def targets_table(found: Results) -> str:
    return table(("target", "wanted", "found", ""), [(each.what, each.wanted, each.found, each.verdict) for each in targets(found)])


def copies_table(found: Results, codec: str) -> str:
    """All subjects on one codec, and what else used the machine."""
    head = (
        f"compression: {codec}",
        "thousand records/s",
        "warm half",
        "whole process",
        "CPU µs/record",
        "warm half",
        "broker CPU µs/record",
        "peak MB",
    )
    rows = [(title, *_figures(found.copies.get((codec, key), []), key)) for key, title in TITLES.items()]
    made = table(head, rows)
    if found.streams_missing:
        made += f"\n\nKafka Streams was not measured: {found.streams_missing}."
    others = [each.others_cores for (of, _), some in found.copies.items() if of == codec for each in some]
    return made + (f"\n\nOther programs used {Spread.of(others).shown(1)} cores meanwhile." if others else "")


def _figures(repetitions: Sequence[Copy], key: str) -> tuple[str, ...]:
    if not repetitions:
        return ("not measured", "", "", "", "", "", "")
    rate = Spread.of(each.rate / 1000 for each in repetitions).shown()
    cpu, broker = (
        Spread.of(values).shown(1) for values in ([each.cpu_us for each in repetitions], [each.broker_cpu_us for each in repetitions])
    )
    peak = f"{max(each.peak_bytes for each in repetitions) / 1e6:,.0f}"
    if key in {"consume", "produce"}:
        return (rate, "", "", cpu, "", broker, peak)
    warm, whole = (
        Spread.of(values).shown()
        for values in ([each.warm_rate / 1000 for each in repetitions], [each.whole_rate / 1000 for each in repetitions])
    )
    return (rate, warm, whole, cpu, Spread.of(each.warm_cpu_us for each in repetitions).shown(1), broker, peak)


def audit_table(audits: Mapping[str, Sequence[Judged]]) -> str:
    head = ("compression", "verdicts", "thousand records read/s", "CPU µs/record read", "peak MB")
    rows = []
    for codec, some in audits.items():
        verdicts = ", ".join(sorted({each.result for each in some}))
        rate, cpu = Spread.of(each.rate / 1000 for each in some), Spread.of(each.cpu_us for each in some)
        rows.append((codec, verdicts, rate.shown(), cpu.shown(1), f"{max(each.peak_bytes for each in some) / 1e6:,.0f}"))
    return table(head, rows) if rows else "Not measured in this run."


def latency_table(found: Results) -> str:
    if found.latency is None:
        return "Not measured in this run."
    names = {
        "origin": "produce() → reader of the origin",
        "follower": "produce() → reader of the follower",
        "added": "added by the mirror, record by record",
    }
    rows = [(words, *(f"{found.latency[key][each]:,.1f}" for each in ("p50", "p99", "max"))) for key, words in names.items()]
    how = f"\n\n{found.latency['records']:,} records at {found.latency['per_second']:,.0f} a second."
    return table(("milliseconds", "p50", "p99", "max"), rows) + how


def memory_table(found: Results) -> str:
    rows = [(what, f"{copy.rate / 1000:,.0f}", f"{copy.peak_bytes / 1e6:,.0f}") for what, copy in found.backlogs]
    return table(("backlog", "thousand records/s", "peak MB"), rows) if rows else "Not measured in this run."


def translate_table(found: Results) -> str:
    rows = []
    for pair in found.translations:
        for direction, counted in dict.fromkeys((each.direction, each.counted) for each in pair.answers):
            some = [each for each in pair.answers if (each.direction, each.counted) == (direction, counted)]
            what = direction.replace("_", " ") + (", duplicates counted" if counted else "")
            seconds = Spread.of(each.seconds for each in some).shown(2)
            probed = f"{statistics.median(each.requests for each in some):,.0f}"
            rows.append((f"{pair.partitions[0]} → {pair.partitions[1]}, {pair.records:,} records", what, seconds, probed))
    return table(("pair", "answer", "seconds", "requests (median)"), rows) if rows else "Not measured in this run."


def machine() -> str:
    """Processor, cores, memory and system."""
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory[1]) / 2**20 if memory else 0
    kernel = platform.release().split("-")[0]
    return f"{processor[1] if processor else platform.machine()}, {cores} cores, {gib:.0f} GiB, {platform.system()} {kernel}"


def versions() -> str:
    """Of everything whose speed is compared here."""
    go = (
        subprocess.run([hatch_build.go_command(), "env", "GOVERSION"], capture_output=True, text=True, check=True)
        .stdout.strip()
        .removeprefix("go")
    )
    library = re.search(r"twmb/franz-go (v\S+)", (hatch_build.ENGINE / "go.mod").read_text())
    return (
        f"Apache Kafka and Kafka Streams {read_lock().kafka} on Java {find_java().release}, "
        f"engine built with Go {go} and franz-go {library[1] if library else '?'}, Python {platform.python_version()}"
    )
