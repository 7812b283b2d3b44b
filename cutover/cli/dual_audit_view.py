"""How an audit of dual writing shows itself: one line per tick on stderr, the verdict as lines, or JSON."""

import json
import os
import time
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from cutover.cli.audit_view import LINE_SECONDS, SCHEMA_VERSION, place_words
from cutover.engine.auditing import counted, open_part
from cutover.engine.dual_auditing import DualHappening, DualWanted
from cutover.engine.dual_events import DualGap, DualProgress, DualSample, DualVerdict


class Ticker:
    """Shows what happens while it happens; a line per 10 s where no terminal is, or with CI=true."""

    def __init__(self, output: str, *, follow: bool) -> None:
        """Nothing is printed yet."""
        self._output = output
        self._follow = follow
        self._every = 1.0 if Console(stderr=True).is_terminal and os.environ.get("CI") != "true" else LINE_SECONDS
        self._next = 0.0
        self._named = 0

    def show(self, happened: DualHappening) -> None:
        """Print what is due."""
        if self._output == "ndjson":
            click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **happened.model_dump(mode="json", by_alias=True)}))
        elif isinstance(happened, DualVerdict) and self._follow:
            self._differences(happened)
        elif isinstance(happened, DualProgress) and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            click.echo(progress_line(happened), err=True)

    def _differences(self, verdict: DualVerdict) -> None:
        if sum(verdict.violations.values()) > self._named:
            self._named = sum(verdict.violations.values())
            for line in [counted(verdict), *sample_lines(verdict.samples)]:
                click.echo(line, err=True)


def progress_line(progress: DualProgress) -> str:
    """The whole progress in one self-contained line; never above 100 %."""
    share = progress.offsets_done / progress.offsets_total if progress.offsets_total else 1.0
    waiting = f"{progress.doubtful:,} without a counterpart so far" + (f" ({progress.spilled:,} on disk)" if progress.spilled else "")
    parts = [
        f"{progress.phase} {int(share * 1000) / 10:.1f} % ({progress.offsets_done:,}/{progress.offsets_total:,} offsets)",
        f"{progress.records_per_second:,.0f} records/s read",
        f"ETA {progress.eta_seconds:.0f} s (offsets left at the rate of now)" if progress.eta_seconds >= 0 else "ETA unknown",
        waiting,
        f"so far {progress.standing}",
    ]
    return " | ".join(parts)


def verdict_lines(verdict: DualVerdict) -> list[str]:
    """Coverage, violations and samples, for a person."""
    covered = verdict.coverage
    lines = [f"matched       {covered.matched:,} pairs of {covered.source_records:,} source and {covered.target_records:,} target records"]
    if covered.doubtful_start:
        lines += [f"before        {covered.doubtful_start:,} records stand before the first pair of their key: nobody was held there"]
    lines += [f"doubtful      {covered.doubtful:,} records have no counterpart yet"] if covered.doubtful else []
    lines += [f"not checked   {_gap(each)}" for each in covered.gaps]
    lines += [f"accepted      {count:,} {kind}" for kind, count in sorted(verdict.accepted.items())]
    spilled = f", {verdict.spilled:,} of them by way of the disk" if verdict.spilled else ""
    lines += [f"read          {verdict.records_read:,} records in {verdict.seconds:.2f} s: {verdict.records_per_second:,.0f}/s{spilled}"]
    lines += [f"violations    {counted(verdict)}", *sample_lines(verdict.samples)] if verdict.violations else []
    return [*lines, ready_line(verdict)]


def _gap(gap: DualGap) -> str:
    where = "" if gap.partition < 0 else f" partition {gap.partition}, offsets {gap.from_:,} to {gap.until:,}"
    known = f" ({gap.records:,} records)" if gap.records else ""
    return f"{gap.topic}{where}{known}: {gap.why}"


def sample_lines(samples: Sequence[DualSample]) -> list[str]:
    """Each violation with its place on both sides and its writer."""
    return [f"  {each.kind:<13} {_places(each)}{_writer(each)}: {_reason(each)}" for each in samples]


def _places(sample: DualSample) -> str:
    return " | ".join(place_words(each) for each in (sample.source, sample.target) if each is not None)


def _writer(sample: DualSample) -> str:
    if sample.stamp:
        return f" by {sample.stamp}"
    return f" by producer id {sample.producer_id}" if sample.producer_id >= 0 else ""


def _reason(sample: DualSample) -> str:
    return (f"{', '.join(sample.fields)} differ; " if sample.fields else "") + sample.why


def ready_line(verdict: DualVerdict) -> str:
    """`ready: yes`, or no and why."""
    reason = _unready(verdict)
    return f"ready: no, because {reason}" if reason else "ready: yes"


def _unready(verdict: DualVerdict) -> str:
    if verdict.standing == "proved":
        return ""
    return open_part(verdict) if verdict.standing == "unproved" else counted(verdict)


def verdict_document(wanted: DualWanted, verdict: DualVerdict) -> dict[str, Any]:
    """The verdict as JSON values."""
    reason = _unready(verdict)
    return {
        "schema_version": SCHEMA_VERSION,
        "source": wanted.source,
        "target": wanted.target,
        "partitioner": wanted.partitioner,
        **verdict.model_dump(mode="json", by_alias=True),
        "ready": not reason,
        "ready_because": reason,
    }
