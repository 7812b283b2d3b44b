"""Several groups under way at once: mixed kinds, there and back, and what becomes of the others when one fails."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cutover import moves, opening
from cutover.errors import GroupNotMoved, TooManyDuplicates
from cutover.lifecycle import Seen, Stage
from cutover.protocol import Role, Side
from cutover.rehearsal.consuming import ReadingProcess
from cutover.rehearsal.service import Services
from cutover.world import World
from tests.cutting import Cutting
from tests.integration.test_moves import PATIENCE_SECONDS, SDK, Live, python

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


class People:
    """The patience of a test in which the people of several groups act."""

    def __init__(self, lives: list[Live], seconds: float = PATIENCE_SECONDS) -> None:
        self.seconds, self.last = seconds, ""
        self._lives, self._began = lives, time.monotonic()

    def wait(self, seconds: float) -> bool:
        time.sleep(min(seconds, 0.05))
        return time.monotonic() - self._began > self.seconds

    def see(self, world: World, seen: Seen | None) -> None:
        self.last = f"{world.history.standing.stage}: {seen}"
        for each in self._lives:
            each.people(world, seen)


def hook(folder: Path, name: str, source: str, target: str) -> dict[str, Any]:
    """Commands that stop and start a service of the rehearsal."""
    service = [sys.executable, "-m", "cutover.rehearsal.service", str(folder), name]
    return {
        "stop_source": [*service, "stop"],
        "stop_target": [*service, "stop"],
        "start_source": [*service, "start", source],
        "start_target": [*service, "start", target],
        "check": [*service, "check"],
    }


@contextmanager
def serving(folder: Path, start: Callable[[str, str], list[ReadingProcess]]) -> Iterator[Services]:
    """Services that hooks stop and start."""
    services = Services(folder, start)
    services.open()
    try:
        yield services
    finally:
        services.kill()


def crowd(bootstrap: str, folder: Path, ends: ExitStack, kinds: dict[str, str], parallel: int) -> tuple[Cutting, list[Live]]:
    """Groups of these kinds on one topic that is written."""
    cutting = Cutting.of(bootstrap, folder, producers=[SDK], moves={"parallel": parallel})
    base = {"owner": "team-test", "missing": "earliest"}
    counted = {"hand_off": "at_least_once", "max_duplicates": 1_000_000}
    lives, told = [], []
    for word, kind in kinds.items():
        name = f"{word}-{cutting.source}"
        live = Live(cutting, name, python(library="sdk" if kind == "sdk" else "plain"), ends)
        switch = {"hook": hook(folder, name, cutting.source, cutting.target)} if kind == "hook" else kind
        told.append({**base, "name": name, "switch": switch, **({"hand_off": "exact"} if kind == "sdk" else counted)})
        lives.append(live)
    cutting.wanted["groups"] = told
    return cutting, lives


def begin(lives: list[Live]) -> None:
    """One producer; a member of each group, but for those that services start."""
    lives[0].begin()
    for each in lives[1:]:
        each.become(each.cutting.source)


def joined(opened: opening.Opened, lives: list[Live]) -> None:
    """Until the members on the library are known."""
    deadline = time.monotonic() + 90
    while not all(opened.world.log.state.members(opened.world.run_id, Role.CONSUMER, each.group) for each in lives):
        opened.world.log.refresh(0.1)
        assert time.monotonic() < deadline


def overlapped(opened: opening.Opened, one: str, other: str) -> bool:
    """Whether both were stopped before either was let go."""
    entries = [each for each in opened.tenure._journal.entries(opened.world.plan.cutover) if each.step.startswith("stop:")]
    kinds = [(each.step.split(":")[1], each.kind) for each in entries]
    ends = [kinds.index((name, "outcome")) for name in (one, other)]
    return max(kinds.index((name, "intent")) for name in (one, other)) < min(ends)


@pytest.mark.slow
def test_groups_of_mixed_kinds_go_there_and_back_three_at_a_time(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    cutting, lives = crowd(bootstrap, tmp_path, ends, {"a": "sdk", "h": "hook", "b": "sdk", "m": "manual"}, 3)
    hooked = lives[1]
    walking = [each for each in lives if each is not hooked]
    began = {"service": 0}

    def start(_: str, topic: str) -> list[ReadingProcess]:
        began["service"] += 1
        hooked.topic = topic
        return [python()(hooked, topic)]

    with serving(tmp_path, start) as services, cutting.world() as opened:
        begin(walking)
        services.set(hooked.group, cutting.source)
        cutting.drive(opened, Stage.SYNCHRONIZED)
        joined(opened, [lives[0], lives[2]])
        cutting.drive(opened, Stage.SOAKING, patience=People(walking))
        assert overlapped(opened, lives[0].group, lives[2].group)
        assert all(opened.world.pair.group(each.group).side is Side.TARGET for each in lives)
        cutting.back(opened, Stage.SYNCHRONIZED, patience=People(walking))
        for each in lives:
            each.topic = cutting.source
        sent = lives[0].traffic.stop()
        verdicts = {}
        for each in lives:
            wait_read(opened, each)
            verdicts[each.group] = (each.verdict(), each.announced(opened))
    for found, announced in verdicts.values():
        assert (found.lost, found.disordered, found.unknown, found.acknowledged) == (0, 0, 0, sent.acknowledged)
        assert found.twice == announced
    assert began["service"] == 3


@pytest.mark.parametrize("switch", ["hook", pytest.param("manual", marks=pytest.mark.slow)])
def test_a_group_that_may_not_go_reads_on_where_it_was_and_nothing_again(
    switch: str, bootstrap: str, tmp_path: Path, ends: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.moves.stopped._most", lambda *_: -1)  # whatever it would read again is too much
    cutting, (other, live) = crowd(bootstrap, tmp_path, ends, {"a": "sdk", "g": switch}, 1)
    walking = [other] if switch == "hook" else [other, live]
    with serving(tmp_path, lambda _, topic: [python()(live, topic)]) as services, cutting.world() as opened:
        begin(walking)
        if switch == "hook":
            services.set(live.group, cutting.source)
        cutting.drive(opened, Stage.SYNCHRONIZED)
        with pytest.raises(TooManyDuplicates) as refused:
            cutting.drive(opened, Stage.MOVING_GROUPS, patience=People(walking))
        assert ("stands still" in refused.value.traffic_now) is (switch == "manual")
        cutting.back(opened, Stage.SYNCHRONIZED, patience=People(walking))
        assert opened.world.pair.group(live.group).side is Side.SOURCE
        assert not moves.standing_still(opened.world)
        live.topic = cutting.source
        sent = other.traffic.stop()
        wait_read(opened, live)
    found = live.verdict()
    assert (found.lost, found.disordered, found.twice, found.acknowledged) == (0, 0, 0, sent.acknowledged)


def wait_read(opened: opening.Opened, live: Live) -> None:
    deadline = time.monotonic() + 60
    while not live._has_read_all(opened):
        assert time.monotonic() < deadline, f"{live.group} does not reach the end of {live.topic}"
        opened.world.beat()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_member_that_is_lost_in_one_move_harms_no_other(
    bootstrap: str, tmp_path: Path, ends: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.moves.sdk.STOP_SECONDS", 3.0)
    cutting, lives = crowd(bootstrap, tmp_path, ends, {"frozen": "sdk", "m": "manual", "whole": "sdk", "later": "sdk"}, 2)
    frozen, manual, whole, later = lives
    with cutting.world() as opened:
        begin(lives)
        cutting.drive(opened, Stage.SYNCHRONIZED)
        joined(opened, [frozen, whole, later])
        pid = frozen.members[0].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(GroupNotMoved, match="did not stop"):
                cutting.drive(opened, Stage.MOVING_GROUPS, patience=People(lives))
        finally:
            os.kill(pid, signal.SIGCONT)
        sides = {each.group: opened.world.pair.group(each.group).side for each in lives}
        assert sides[frozen.group] is Side.SOURCE
        assert sides[whole.group] is Side.TARGET
        assert sides[later.group] is Side.SOURCE  # nothing is begun once something went wrong
        assert not any(opened.world.pair.group(each.group).stop for each in lives)
        cutting.drive(opened, Stage.MOVING_GROUPS, patience=People(lives))
        assert all(opened.world.pair.group(each.group).side is Side.TARGET for each in lives)
        for each in lives:
            each.topic = cutting.target
        lives[0].traffic.stop()
        for each in lives:
            wait_read(opened, each)
    for each in lives:
        found = each.verdict()
        assert (found.lost, found.disordered) == (0, 0)
        assert found.twice == 0 or each is manual
