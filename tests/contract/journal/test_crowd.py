"""Several processes at one journal: one holder at a time, no gap, no fork; and killed with -9 they leave a chain that holds."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cutover.journal import Journal
from tests.contract.journal.conftest import Place, orders

ROOT = Path(__file__).parents[3]
PROCESSES, TENURES, ENTRIES = 4, 6, 8


def test_processes_that_hammer_one_journal_never_hold_it_at_the_same_time(begun: Journal, place: Place) -> None:
    said = [words for output in _all_at_once(place.url) for words in output]
    tenures = sorted((words for words in said if "began" in words), key=lambda words: words["began"])
    assert len(tenures) == PROCESSES * TENURES
    assert [words["epoch"] for words in tenures] == list(range(1, PROCESSES * TENURES + 1))
    assert _overlaps(tenures) == []
    written = begun.entries("orders", after=0)
    assert [entry.seq for entry in written] == list(range(1, PROCESSES * TENURES * ENTRIES + 1))
    assert {(entry.seq, entry.hash) for entry in written} == {(words["seq"], words["hash"]) for words in said if "seq" in words}
    assert [entry.lease_epoch for entry in written] == sorted(entry.lease_epoch for entry in written)
    assert begun.verify("orders") == begun.head("orders")


def test_two_holders_at_one_time_would_be_seen() -> None:
    assert _overlaps([{"began": 1.0, "ended": 3.0}, {"began": 2.0, "ended": 4.0}]) != []


def test_processes_that_make_a_journal_at_the_same_moment_make_one(place: Place) -> None:
    commands = [[sys.executable, "-c", OPEN_AND_BEGIN, place.url] for _ in range(PROCESSES)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for command in commands]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [(b"", 0)] * PROCESSES
    with Journal.open(place.url) as journal:
        assert journal.runs() == (orders(),)
        assert journal.verify("orders")[0] == 0


OPEN_AND_BEGIN = """
import sys
from cutover.journal import Journal
from tests.contract.journal.conftest import orders
with Journal.open(sys.argv[1]) as journal:
    journal.begin(orders())
"""


@pytest.mark.parametrize("kills", [8])
def test_a_writer_killed_at_any_moment_leaves_a_chain_that_holds(begun: Journal, place: Place, kills: int) -> None:
    acknowledged: dict[int, str] = {}
    for kill in range(kills):
        with _writer(place.url, "driver-1", tenures=10_000, entries=10_000, ttl_seconds=30) as process:
            assert process.stdout is not None
            for _ in range(1 + 7 * kill):
                words = json.loads(process.stdout.readline())
                acknowledged[words["seq"]] = words["hash"]
            process.kill()
            for line in process.stdout:
                if line.endswith("\n"):
                    words = json.loads(line)
                    acknowledged[words["seq"]] = words["hash"]
        seq, _ = begun.verify("orders", max(acknowledged.items()))
        assert seq >= max(acknowledged)
    assert acknowledged.items() <= {entry.seq: entry.hash for entry in begun.entries("orders")}.items(), "what was acknowledged is there"
    assert begun.entries("orders")[-1].lease_epoch == kills


def _all_at_once(url: str) -> list[list[dict[str, Any]]]:
    command = [sys.executable, "-m", "tests.contract.journal.writer", url]
    started = [
        subprocess.Popen([*command, f"driver-{number}", str(TENURES), str(ENTRIES), "60"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    try:
        outputs = [process.communicate(timeout=60)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * PROCESSES
    return [[json.loads(line) for line in output.splitlines()] for output in outputs]


def _overlaps(tenures: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Those that began before the one before had ended; in the order they began."""
    return [(former, later) for former, later in pairwise(tenures) if later["began"] < former["ended"]]


@contextmanager
def _writer(url: str, holder: str, *, tenures: int, entries: int, ttl_seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.contract.journal.writer", url, holder, str(tenures), str(entries), str(ttl_seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
