"""The Python model of recovery passes the same table as the engine, and keeps the promise for any crash."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.recovery import Decision, Given, Verdict, decide

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "golden" / "recovery.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_case_of_the_table_is_decided_as_written(case: dict[str, Any]) -> None:
    wanted = {**case["decision"], "missing": tuple(case["decision"]["missing"])}
    assert decide(Given(**case["given"])) == Decision(**wanted)


@given(st.sets(st.integers(0, 200)), st.integers(0, 200), st.integers(0, 200))
def test_records_and_position_torn_apart_are_never_lost_nor_doubled(belongs: set[int], position: int, written: int) -> None:
    """The follower holds all records below `written`; the position says `position`: going on gives each record once."""
    seen = sorted(offset for offset in belongs if offset < written)
    start = max(0, position - 20)
    expected = sorted(offset for offset in belongs if start <= offset < position)
    decision = decide(Given(start=0, committed=position, expected=expected, seen=seen, compacted=False))
    if decision.verdict is Verdict.HOLE:
        assert set(decision.missing) == {offset for offset in expected if offset >= written}
        return
    skip = -1 if decision.skip_through is None else decision.skip_through
    copied = [offset for offset in sorted(belongs) if offset >= position and offset > skip]
    lost_before = [offset for offset in belongs if written <= offset < start]
    assert sorted({*seen, *copied}) == sorted(belongs - set(lost_before))
    assert not set(seen) & set(copied)
