"""How an audit shows itself: one line per tick on stderr, the verdict as a table, or JSON."""

import base64
import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console

from cutover.engine.audit_events import AuditProgress, Gap, Pair, Place, Sample, Shown, Verdict
from cutover.engine.auditing import Happening, Wanted, counted
from cutover.engine.crosscheck import CrossCheck

SCHEMA_VERSION = 1
LINE_SECONDS = 10.0
PAIRS_SHOWN = 60


class Ticker:
    """Shows what happens while it happens; a line per 10 s where no terminal is, or with CI=true."""

    def __init__(self, output: str, *, follow: bool) -> None:
        """Nothing is printed yet."""
        self._output = output
        self._follow = follow
        self._every = 1.0 if Console(stderr=True).is_terminal and os.environ.get("CI") != "true" else LINE_SECONDS
        self._next = 0.0
        self._windows = self._red = self._proved = self._expected = 0

    def show(self, happened: Happening) -> None:
        """Print what is due."""
        if isinstance(happened, Verdict):
            self._windows += 1
            self._red += happened.result == "violated"
            self._proved += happened.coverage.proved
            self._expected += happened.coverage.expected
        if self._output == "ndjson":
            click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **happened.model_dump(mode="json", by_alias=True)}))
        elif isinstance(happened, Verdict) and self._follow:
            self._window(happened)
        elif isinstance(happened, AuditProgress) and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            click.echo(progress_line(happened), err=True)

    def summary(self) -> str:
        """All windows of --follow in one line: the last one alone may have had nothing to judge."""
        red = f", {self._red:,} of them with violations" if self._red else ""
        return f"followed {self._windows:,} windows{red}: {self._proved:,} of {self._expected:,} records proved"

    def _window(self, verdict: Verdict) -> None:
        red = verdict.result == "violated"
        if red or time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            click.echo(window_line(verdict), err=True)
        if red:
            for line in sample_lines(verdict.samples):
                click.echo(line, err=True)


def progress_line(progress: AuditProgress) -> str:
    """The whole progress in one self-contained line; never above 100 %."""
    share = progress.offsets_done / progress.offsets_total if progress.offsets_total else 1.0
    eta = f"ETA {progress.eta_seconds:.0f} s (offsets left at the rate of now)" if progress.eta_seconds >= 0 else "ETA unknown"
    parts = [
        f"{progress.phase} {int(share * 1000) / 10:.1f} % ({progress.offsets_done:,}/{progress.offsets_total:,} offsets)",
        f"{progress.records_per_second:,.0f} records/s read",
        eta,
        f"so far {progress.standing}",
    ]
    return " | ".join(parts)


def window_line(verdict: Verdict) -> str:
    """One window of --follow in one line."""
    said = f"window {verdict.window}: {verdict.result}, {verdict.coverage.proved:,} of {verdict.coverage.expected:,} records proved"
    found = f", {counted(verdict)}" if verdict.violations else ""
    return f"{said}{found} | {verdict.records_per_second:,.0f} records/s | {ready_line(verdict)}"


def verdict_lines(verdict: Verdict, *, all_pairs: bool) -> list[str]:
    """Table, coverage, violations and samples, for a person."""
    lines = _table(verdict.pairs, collapsed=verdict.pairs_total > PAIRS_SHOWN and not all_pairs)
    omitted = verdict.pairs_total - len(verdict.pairs)
    lines += [f"  ... and {omitted:,} pairs more, all equal"] if omitted else []
    lines += ["", f"pairs equal   {verdict.pairs_equal:,} of {verdict.pairs_total:,}", *coverage_lines(verdict)]
    lines += [f"compared      {', '.join(verdict.digest_fields)}" + (f" ({verdict.digest_note})" if verdict.digest_note else "")]
    lines += [f"accepted      {count:,} {kind}" for kind, count in sorted(verdict.accepted.items())]
    lines += [
        f"read          {verdict.records_read:,} records in {verdict.seconds:.2f} s: {verdict.records_per_second:,.0f}/s,"
        f" {verdict.judged_per_second:,.0f} origin records judged/s"
    ]
    if verdict.violations:
        lines += [f"violations    {counted(verdict)}", *sample_lines(verdict.samples)]
    return lines


def coverage_lines(verdict: Verdict) -> list[str]:
    """What was proved in words, and what was not and why."""
    covered = verdict.coverage
    if verdict.result == "proved":
        whole = f"all {covered.expected:,} records" if covered.expected else "nothing to compare: no record in the range"
    else:
        whole = f"{covered.proved:,} of {covered.expected:,} records"
    lines = [f"proved        {whole} below the mirror's positions"]
    lines += [f"not checked   {_gap(each)}" for each in covered.gaps]
    lines += [f"later         {covered.later:,} records of the follower are past the range and were not judged"] if covered.later else []
    return lines


def _gap(gap: Gap) -> str:
    known = f" ({gap.records:,} records are known of there)" if gap.records else ""
    return f"{gap.topic} partition {gap.partition}, offsets {gap.from_:,} to {gap.until:,}{known}: {gap.why}"


def sample_lines(samples: Sequence[Sample]) -> list[str]:
    """Each violation with its place on both sides."""
    return [f"  {each.kind:<11} {_places(each)}: {_reason(each)}" for each in samples]


def _reason(sample: Sample) -> str:
    differs = f"{', '.join(sample.fields)} differ; " if sample.fields else ""
    return differs + sample.why


def _places(sample: Sample) -> str:
    sides = [place_words(place) for place in (sample.origin, sample.follower) if place is not None]
    return " -> ".join(sides)


def place_words(place: Place) -> str:
    """TOPIC/PARTITION@OFFSET, and key and value as far as they may be shown."""
    shown = [f"{name} {_shown(each)}" for name, each in (("key", place.key), ("value", place.value)) if each is not None]
    return f"{place.topic}/{place.partition}@{place.offset}" + (f" ({', '.join(shown)})" if shown else "")


def _shown(shown: Shown) -> str:
    if shown.bytes < 0:
        return "none"
    if shown.data is not None:
        return repr(base64.b64decode(shown.data))[1:]
    return f"{shown.bytes} B #{shown.fingerprint}"


def ready_line(verdict: Verdict) -> str:
    """`ready: yes`, or no and why."""
    if verdict.standing == "proved":
        return "ready: yes"
    if verdict.standing == "unproved":
        return "ready: no, because a part of the range could not be read any more"
    return f"ready: no, because {counted(verdict)}"


def cross_check_lines(checked: CrossCheck | None) -> list[str]:
    """What the second reading came to."""
    if checked is None:
        return []
    saw = f"found {len(checked.findings):,} violations there too" if checked.findings else "found no violation"
    return [
        f"cross-check   agrees: the second implementation read {checked.follower_records:,} follower and {checked.origin_records:,} origin"
        f" records of {len(checked.scopes):,} windows and {saw}"
    ]


def verdict_document(wanted: Wanted, verdict: Verdict, checked: CrossCheck | None) -> dict[str, Any]:
    """The verdict as JSON values."""
    ready = verdict.standing == "proved"
    document = {
        "schema_version": SCHEMA_VERSION,
        "origin": wanted.origin,
        "follower": wanted.follower,
        "partitioner": wanted.partitioner,
        **verdict.model_dump(mode="json", by_alias=True),
        "ready": ready,
        "ready_because": "" if ready else ready_line(verdict).removeprefix("ready: no, because "),
    }
    if checked is not None:
        document["cross_check"] = {
            "agrees": True,
            "windows": len(checked.scopes),
            "origin_records": checked.origin_records,
            "follower_records": checked.follower_records,
            "findings": [{"kind": each.kind, "origin": each.origin, "follower": each.follower} for each in checked.findings[:100]],
        }
    return document


def _table(pairs: Sequence[Pair], *, collapsed: bool) -> list[str]:
    head = ("origin", "follower", "origin records", "follower records", "last", "equal")
    rows = [_origin_row(number, each) for number, each in _by_origin(pairs)] if collapsed else [_pair_row(each) for each in _ordered(pairs)]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]


def _ordered(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda each: (each.origin, each.follower))


def _pair_row(pair: Pair) -> tuple[str, ...]:
    numbers = (str(pair.origin), str(pair.follower), f"{pair.origin_records:,}", f"{pair.follower_records:,}", f"{pair.origin_last:,}")
    return (*numbers, "yes" if pair.equal else f"NO: {pair.why}")


def _by_origin(pairs: Iterable[Pair]) -> list[tuple[int, list[Pair]]]:
    found: dict[int, list[Pair]] = {}
    for each in _ordered(pairs):
        found.setdefault(each.origin, []).append(each)
    return sorted(found.items())


def _origin_row(number: int, pairs: Sequence[Pair]) -> tuple[str, ...]:
    unequal = [each.follower for each in pairs if not each.equal]
    return (
        str(number),
        f"{len(pairs)} partitions",
        f"{sum(each.origin_records for each in pairs):,}",
        f"{sum(each.follower_records for each in pairs):,}",
        f"{max(each.origin_last for each in pairs):,}",
        f"NO: partitions {', '.join(map(str, unequal[:5]))}{' ...' if len(unequal) > 5 else ''}" if unequal else "yes",
    )
