"""What one run of the benchmarks found, and the figures that are derived from it."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.audit import Judged
from tests.bench.copies import Copy
from tests.bench.strategies import Cost
from tests.bench.translate import Translated

CODECS = ("none", "lz4")


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, middle and greatest of the repetitions."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        found = list(values)
        return cls(min(found), statistics.median(found), max(found))

    def shown(self, digits: int = 0) -> str:
        return " / ".join(f"{each:,.{digits}f}" for each in (self.least, self.median, self.most))


@dataclass(frozen=True, slots=True)
class Pairing:
    """Translations over one pair of topics."""

    partitions: tuple[int, int]
    records: int
    answers: Sequence[Translated]


@dataclass(slots=True)
class Results:
    """Filled as the run goes on. Copies are by codec and subject, in the order of the rounds."""

    records: int
    copies: dict[tuple[str, str], list[Copy]] = field(default_factory=dict)
    audits: dict[str, list[Judged]] = field(default_factory=dict)
    dual_audits: dict[str, list[Judged]] = field(default_factory=dict)
    latency: dict[str, Any] | None = None
    backlogs: list[tuple[str, Copy]] = field(default_factory=list)
    translations: list[Pairing] = field(default_factory=list)
    flips: dict[str, Any] | None = None
    client: dict[str, float] | None = None
    strategies: dict[str, Cost] | None = None
    streams_missing: str = ""

    def ratio(self, codec: str, one: str, other: str, of: Callable[[Copy], float]) -> Spread | None:
        """The figure of one subject over that of another, round by round: what else went on in a round meets both."""
        mine, theirs = self.copies.get((codec, one), []), self.copies.get((codec, other), [])
        return Spread.of(of(a) / of(b) for a, b in zip(mine, theirs, strict=True)) if mine and theirs else None


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised and what was found; `met` judges the median, None where it was not measured."""

    what: str
    wanted: str
    found: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


def targets(of: Results) -> list[Target]:
    """Every target of the project, judged."""
    judged = []
    for codec in CODECS:
        judged += [
            _least(f"one worker over Kafka Streams, {codec}", 2, of.ratio(codec, "mirror-1", "streams", lambda each: each.rate)),
            _least(
                f"one worker over Kafka Streams, warm half, {codec}",
                1.6,
                of.ratio(codec, "mirror-1", "streams", lambda each: each.warm_rate),
            ),
            _most(
                f"its CPU per record over that of Kafka Streams, {codec}",
                0.3,
                of.ratio(codec, "mirror-1", "streams", lambda each: each.cpu_us),
                2,
            ),
            _least(
                f"audit, records read per second, {codec}",
                700_000,
                Spread.of(each.rate for each in of.audits[codec]) if codec in of.audits else None,
                0,
            ),
        ]
    for name in ("p50", "p99"):
        limit = {"p50": 40, "p99": 150}[name]
        value = of.latency["added"][name] if of.latency else None
        judged.append(
            _most(f"latency added at 5,000 records/s, {name}, ms", limit, Spread.of([value]) if value is not None else None, 1, single=True)
        )
    gaps = sorted(of.flips["gaps_ms"]) if of.flips else []
    for share, limit in ((0.5, 80), (0.99, 250)):
        found = Spread.of([gaps[min(len(gaps) - 1, int(len(gaps) * share))]]) if gaps else None
        judged.append(_most(f"longest gap of a producer in a flip, p{share * 100:.0f}, ms", limit, found, 0, single=True))
    cost = Spread.of([of.client["without_pair"]]) if of.client else None
    judged.append(_most("produce() of our client to the plain one's, no pair", 1.05, cost, 2, single=True))
    for what, copy in of.backlogs:
        judged.append(_most(f"resident memory of a worker, {what}, MB", 300, Spread.of([copy.peak_bytes / 1e6]), 0, single=True))
    for pair in of.translations:
        allowed = 0.8 if pair.partitions[1] <= 24 else 4.0
        slowest = Spread.of(each.seconds for each in pair.answers)
        judged.append(
            _most(
                f"translate, {pair.partitions[1]} partitions and {pair.records:,} records, slowest answer, s",
                allowed,
                slowest,
                2,
                worst=True,
            )
        )
    return judged


def _least(what: str, wanted: float, found: Spread | None, digits: int = 1) -> Target:
    return Target(what, f"≥ {wanted:,}", found.shown(digits) if found else "", found.median >= wanted if found else None)


def _most(what: str, wanted: float, found: Spread | None, digits: int, *, single: bool = False, worst: bool = False) -> Target:
    if found is None:
        return Target(what, f"≤ {wanted:,}", "", None)
    shown = f"{found.median:,.{digits}f}" if single else found.shown(digits)
    return Target(what, f"≤ {wanted:,}", shown, (found.most if worst else found.median) <= wanted)
