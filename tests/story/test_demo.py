"""The demo, to a stage and back: real processes on a real Kafka of its own, and another process that judges what everybody got."""

import json
import subprocess
import sys
from typing import Any

import pytest

from cutover.lifecycle import SEQUENCE, Order, Stage
from cutover.plan import STRATEGIES

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("embedded")]
GROUPS = 4
STAGES = [each for each in SEQUENCE[Order.GROUPS_FIRST] if each not in {Stage.PLANNED, Stage.COMPLETED}]


def play(*words: str) -> list[dict[str, Any]]:
    """Play it; its lines."""
    told = subprocess.run(
        [sys.executable, "-m", "cutover", "demo", "--json", *words], capture_output=True, text=True, timeout=500, check=False
    )
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-3000:]
    return [json.loads(line) for line in told.stdout.splitlines()]


def verdicts(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the judge said, with what was announced."""
    return [{**each["facts"]["verdict"], "announced": each["facts"]["announced"]} for each in lines if "verdict" in each["facts"]]


def assert_judged(found: list[dict[str, Any]], groups: int) -> None:
    assert len(found) == groups
    for each in found:
        assert (each["lost"], each["disordered"]) == (0, 0)
        assert each["twice"] == each["announced"]
        assert each["acknowledged"] > 100_000


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("stage", STAGES)
def test_from_every_stage_everybody_comes_back_and_the_judge_finds_nothing(stage: Stage, strategy: str) -> None:
    lines = play("--strategy", strategy, "--rollback-from", stage.value)
    assert_judged(verdicts(lines), GROUPS)
    assert any(each["words"] == "back to planned" for each in lines)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_pair_goes_all_the_way_and_another_there_and_back(strategy: str) -> None:
    lines = play("--strategy", strategy)
    assert_judged(verdicts(lines), 2 * GROUPS)
    assert any(each["words"] == "now completed" for each in lines)


OF_PAIRS = 6
"""Two groups read one of the pairs, two the other, and one reads both: the judge looks at it once for each."""


def assert_judged_together(found: list[dict[str, Any]], runs: int) -> None:
    assert len(found) == runs * OF_PAIRS
    assert len({each["source"] for each in found}) == runs * 2
    for each in found:
        assert (each["lost"], each["disordered"]) == (0, 0)
        assert each["twice"] == each["announced"]
        assert each["acknowledged"] > 50_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", STAGES)
def test_pairs_that_are_switched_together_come_back_from_every_stage(stage: Stage) -> None:
    lines = play("--pairs", "2", "--rollback-from", stage.value)
    assert_judged_together(verdicts(lines), 1)
    assert any(each["words"] == "back to planned" for each in lines)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_pairs_go_all_the_way_together_and_two_others_there_and_back() -> None:
    lines = play("--pairs", "2")
    assert_judged_together(verdicts(lines), 2)
    assert any(each["words"] == "now completed" for each in lines)
