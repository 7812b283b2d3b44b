"""What the control log says of a pair's epoch, as vectors that the engine passes too; run this file with --write to draw them anew."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from cutover.protocol import (
    Ack,
    Another,
    Close,
    ControlState,
    Cut,
    Expired,
    Hold,
    Join,
    Leave,
    Message,
    Mode,
    Pair,
    Read,
    Release,
    Role,
    Side,
    Stop,
    Topic,
    Until,
    With,
    parse,
)

FILE = Path(__file__).parent.parent / "golden" / "epochs.json"
LOGS = 200
CUT = Cut(source={0: 1}, target={0: 1})
OURS, ANOTHER = "s--t", "x--y"


KINDS_OF_SEVERAL = [
    "hold",
    "hold",
    "release",
    "release",
    "release",
    "release",
    "undo",
    "expired",
    "stop",
    "stops",
    "reads",
    "close",
    "alone",
    "alone",
]
KINDS = ["hold", "hold", "hold", "release", "release", "release", "release", "undo", "expired", "stop", "read", "close", "rest", "pair"]


def drawn(rng: random.Random) -> list[Message]:
    """A log as several drivers and instances might write it: mostly the right terms, epochs and modes, in any order."""
    log: list[Message] = [pair(OURS)] if rng.random() < 0.97 else []
    for _ in range(rng.randrange(20)):
        of = OURS if rng.random() < 0.9 else ANOTHER
        log.append(another(rng.choice(KINDS), of, epoch_of([each.encoded().decode() for each in log]), log, rng))
    return log


def drawn_of_several(rng: random.Random) -> list[Message]:
    """A log in which two pairs are mostly held together, and sometimes meddled with alone."""
    log: list[Message] = [pair(OURS), pair(ANOTHER)]
    for _ in range(rng.randrange(24)):
        kind = rng.choice(KINDS_OF_SEVERAL)
        words = [each.encoded().decode() for each in log]
        epochs = [epoch_of(words, name) for name in (OURS, ANOTHER)]
        if kind in {"stops", "reads"}:
            term = max((getattr(each, "term", 0) for each in log), default=0) + rng.choice([-1, 0, 1, 1])
            told: dict[str, Any] = {"v": 2, "pair": OURS, "group": "g", "term": max(term, 0), "also": (With(pair=ANOTHER),)}
            log.append(Stop(**told, budget_ms=1) if kind == "stops" else Read(**told, side=rng.choice(list(Side))))
        elif kind in {"hold", "release"}:
            log.append(of_several(kind, epochs, log, rng))
        else:
            at = rng.randrange(2)
            log.append(another(rng.choice(KINDS) if kind == "alone" else kind, (OURS, ANOTHER)[at], epochs[at], log, rng))
    return log


def of_several(kind: str, epochs: list[int], log: list[Message], rng: random.Random) -> Message:
    """HOLD or its release, of both pairs; now and then wrong about one of them."""
    if kind == "hold":
        term = max((getattr(each, "term", 0) for each in log), default=0) + rng.choice([0, 1, 1, 1, 1])
        ours, theirs = (epoch + rng.choice([0, 1, 1, 1, 1, 1]) for epoch in epochs)
        to = rng.choice(list(Mode))
        return Hold(v=2, pair=OURS, term=term, epoch=ours, to=to, budget_ms=1, also=(Another(pair=ANOTHER, epoch=theirs),))
    held = [each for each in log if isinstance(each, Hold) and each.also]
    if not held:
        return pair(OURS)
    last = held[-1]
    theirs = last.epochs[ANOTHER] + rng.choice([0] * 9 + [1])
    also = (Another(pair=ANOTHER, epoch=theirs, cut=rng.choice([CUT] * 9 + [None])),)
    told = Release(type=last.to.value, v=2, pair=OURS, term=last.term, epoch=last.epoch, cut=CUT, also=also)
    return told if rng.random() < 0.9 else told.model_copy(update={"v": 1, "also": None})


def another(kind: str, of: str, epoch: int, log: list[Message], rng: random.Random) -> Message:
    """A record more, which goes on from the last HOLD."""
    holds = [each for each in log if isinstance(each, Hold) and of in each.epochs]
    last = holds[-1] if holds else Hold(pair=of, term=0, epoch=1, to=Mode.TARGET, budget_ms=1)
    if kind == "hold":
        term = max((getattr(each, "term", 0) for each in log), default=0) + rng.choice([0, 1, 1, 1])
        return Hold(pair=of, term=term, epoch=epoch + rng.choice([0, 1, 1, 1]), to=rng.choice(list(Mode)), budget_ms=1)
    if kind == "release":
        mode = rng.choice([last.to] * 5 + list(Mode))
        return Release(type=mode.value, pair=of, term=last.term, epoch=last.epoch + rng.choice([0] * 9 + [1]), cut=CUT)
    if kind == "close" and rng.random() < 0.8:
        kind = "rest"
    return other(kind, of, max(0, last.term + rng.choice([0, 0, 0, 0, -1, 1])), epoch, last.to, rng)


def pair(name: str) -> Pair:
    sides = {side: Topic(name=side[0], id=side[0], partitions=1) for side in ("source", "target")}
    return Pair(pair=name, run="r", partitioner="murmur2", **sides)


def other(kind: str, of: str, term: int, epoch: int, mode: Mode, rng: random.Random) -> Message:
    rest: list[Message] = [
        Join(instance="i", session="1", topic="s", role=Role.PRODUCER),
        Leave(instance="i"),
        Ack(instance="i", pair=of, term=term),
        Until(pair=of, group="g", term=term, offsets={0: 1}),
    ]
    return {
        "close": Close(pair=of),
        "undo": Release(type=mode.value, pair=of, term=term, epoch=epoch),
        "expired": Expired(instance="i", pair=of, term=term),
        "stop": Stop(pair=of, group="g", term=term, budget_ms=1),
        "read": Read(pair=of, group="g", term=term, side=Side.TARGET),
        "pair": pair(of),
        "rest": rng.choice(rest),
    }[kind]


def epoch_of(records: list[str], name: str = OURS) -> int:
    state = ControlState()
    for offset, words in enumerate(records):
        state = state.then(offset, parse(words.encode()))
    found = state.pairs.get(name)
    return 0 if found is None else found.epoch


def draw() -> list[dict[str, Any]]:
    rng = random.Random(6)
    logs = [[each.encoded().decode() for each in drawn(rng)] for _ in range(LOGS)]
    joint = [[each.encoded().decode() for each in drawn_of_several(rng)] for _ in range(LOGS)]
    return [{"pair": name, "epoch": epoch_of(log, name), "records": log} for name, logs in ((OURS, logs), (ANOTHER, joint)) for log in logs]


CASES: list[dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else []


def test_the_protocol_says_of_each_log_what_is_written() -> None:
    assert len(CASES) == 2 * LOGS
    assert [epoch_of(case["records"], case["pair"]) for case in CASES] == [case["epoch"] for case in CASES]


@pytest.mark.parametrize(("epoch", "logs"), [(0, 50), (1, 20), (2, 5)])
def test_every_epoch_is_reached_by_many_logs(epoch: int, logs: int) -> None:
    for name in (OURS, ANOTHER):
        assert sum(case["epoch"] == epoch for case in CASES if case["pair"] == name) >= logs


if __name__ == "__main__" and "--write" in sys.argv:
    FILE.write_text("[\n" + ",\n".join(json.dumps(case) for case in draw()) + "\n]\n")
