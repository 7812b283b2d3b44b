"""A small judge of mirrors, apart from the engine's audit: it reads both topics with librdkafka and compares all records."""

from tests.judge.equal import compare_topics
from tests.judge.reading import Judged, committed_positions, judge, position_reader, read_committed, read_settled
from tests.judge.verdict import Place, Record, Verdict, compare

__all__ = [
    "Judged",
    "Place",
    "Record",
    "Verdict",
    "committed_positions",
    "compare",
    "compare_topics",
    "judge",
    "position_reader",
    "read_committed",
    "read_settled",
]
