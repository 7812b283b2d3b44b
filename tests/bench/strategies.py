"""What each strategy costs on one load: the demo is played with each of them, all the way and back, and its own lines are measured.

The load is the demo's: three producers at 5,000 records/s, a history of 120,000 records, four groups, 6 to 24 partitions.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cutover.plan import STRATEGIES

Line = Mapping[str, Any]
FORWARD = "orders"


@dataclass(frozen=True, slots=True)
class Cost:
    """One pair that went all the way."""

    seconds: float
    """From the start of the run to `completed`."""
    gap_ms: float
    """The longest time that a producer waited for an acknowledgement."""
    acknowledged: int
    copied: int
    """Offsets on both topics beyond what was acknowledged, markers counted: what was stored twice."""
    read_again: Mapping[str, int]
    lost: int
    disordered: int


def play(strategy: str) -> list[Line]:
    """Its lines; a judge that is not content raises CalledProcessError."""
    told = subprocess.run(
        [sys.executable, "-m", "cutover", "demo", "--json", "--strategy", strategy], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in told.stdout.splitlines()]


def cost(lines: Sequence[Line]) -> Cost:
    """The cost of the pair that went all the way: its part of the story ends with the first longest gaps."""
    end = next(number for number, each in enumerate(lines) if "longest_gap_ms" in each["facts"])
    act = lines[: end + 1]
    at = {each["words"]: each["at_seconds"] for each in act}
    verdicts = [each["facts"]["verdict"] for each in act if "verdict" in each["facts"]]
    offsets = next(each["facts"]["offsets"] for each in act if "offsets" in each["facts"])
    acknowledged = verdicts[0]["acknowledged"]
    return Cost(
        seconds=at["now completed"] - at["now checked"],
        gap_ms=max(act[-1]["facts"]["longest_gap_ms"].values()),
        acknowledged=acknowledged,
        copied=sum(offsets.values()) - acknowledged,
        read_again={each["group"].removeprefix(f"{FORWARD}-"): each["twice"] for each in verdicts},
        lost=sum(each["lost"] for each in verdicts),
        disordered=sum(each["disordered"] for each in verdicts),
    )


def measure() -> dict[str, Cost]:
    """The cost of each strategy, one after another."""
    return {strategy: cost(play(strategy)) for strategy in STRATEGIES}
