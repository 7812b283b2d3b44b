"""The views of an audit of dual writing: self-contained lines, and JSON that says whether it is ready."""

from cutover.cli import dual_audit_view as view
from cutover.engine.audit_events import Place
from cutover.engine.dual_auditing import DualWanted
from cutover.engine.dual_events import DualBounds, DualCoverage, DualGap, DualProgress, DualSample, DualVerdict

WANTED = DualWanted("s", "t", "murmur2")
COVERAGE = DualCoverage(source_records=1005, target_records=1000, matched=1000, doubtful_start=0, doubtful=0)
PROVED = DualVerdict(
    event="dual_verdict", at_ms=1, window=1, result="proved", standing="proved",
    bounds=DualBounds(source_from={0: 0}, source_until={0: 1005}, target_from={0: 0}, target_until={0: 1000}),
    coverage=COVERAGE, violations={}, violations_exact=True, accepted={}, samples=(), spilled=0, records_read=2005, seconds=2.0,
    records_per_second=1002.5,
)  # fmt: skip
SAMPLE = DualSample(
    kind="one_side_only",
    source=Place(topic="s", partition=1, offset=7, timestamp_ms=5),
    stamp="billing-7:x:2:9",
    producer_id=12,
    why="t has no such record",
)


def test_a_proof_says_how_much_was_matched_and_that_it_is_ready() -> None:
    assert view.verdict_lines(PROVED) == [
        "matched       1,000 pairs of 1,005 source and 1,000 target records",
        "read          2,005 records in 2.00 s: 1,002/s",
        "ready: yes",
    ]


def test_what_is_not_proved_is_said_with_its_number_and_why() -> None:
    gap = DualGap(side="source", topic="s", partition=-1, from_=0, until=0, records=3, why="it is compacted")
    covered = COVERAGE.model_copy(update={"doubtful_start": 5, "doubtful": 2, "gaps": (gap,)})
    changes = {"standing": "unproved", "coverage": covered, "spilled": 9, "accepted": {"off_hash": 4}}
    lines = view.verdict_lines(PROVED.model_copy(update=changes))
    assert "before        5 records stand before the first pair of their key: nobody was held there" in lines
    assert "doubtful      2 records have no counterpart yet" in lines
    assert "not checked   s (3 records): it is compacted" in lines
    assert "accepted      4 off_hash" in lines
    assert lines[-1] == "ready: no, because a part of the range cannot be judged"


def test_a_violation_has_its_place_and_its_writer() -> None:
    red = PROVED.model_copy(update={"standing": "violated", "violations": {"one_side_only": 1}, "samples": (SAMPLE,)})
    assert view.verdict_lines(red)[-2:] == [
        "  one_side_only s/1@7 by billing-7:x:2:9: t has no such record",
        "ready: no, because 1 one_side_only",
    ]
    assert (
        view.sample_lines([SAMPLE.model_copy(update={"stamp": ""})])[0] == "  one_side_only s/1@7 by producer id 12: t has no such record"
    )
    document = view.verdict_document(WANTED, red)
    assert (document["schema_version"], document["ready"], document["ready_because"]) == (1, False, "1 one_side_only")


def test_a_line_of_progress_says_everything_by_itself() -> None:
    progress = DualProgress(
        event="dual_progress", at_ms=1, window=1, phase="reading", source_records=1, target_records=1, offsets_done=999, offsets_total=1000,
        records_per_second=1234.5, eta_seconds=3, doubtful=17, spilled=5, standing="proved",
    )  # fmt: skip
    assert view.progress_line(progress) == (
        "reading 99.9 % (999/1,000 offsets) | 1,234 records/s read | ETA 3 s (offsets left at the rate of now)"
        " | 17 without a counterpart so far (5 on disk) | so far proved"
    )
