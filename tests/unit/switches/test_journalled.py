"""Hooks of a run in its journal: what is written before and after, and what a former driver left open."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from cutover.errors import HookFailed, HookUnknown
from cutover.history import Body, History, Told
from cutover.lifecycle import Order
from cutover.plan import Group, Hook, HookSwitch
from cutover.protocol import Pair, PairState, Topic
from cutover.switches import JournalledHooks
from cutover.world import World

PAIR = Pair(
    pair="0123456789abcdef",
    run="run",
    source=Topic(name="s", id="S", partitions=1),
    target=Topic(name="t", id="T", partitions=2),
    partitioner="murmur2",
)
STEP = "start:balances:0"


@dataclass
class Journal:
    """The entries of a run, and a world that writes them."""

    entries: list[Told] = field(default_factory=list)

    def world(self) -> World:
        made = object.__new__(World)
        made.history = History.of(Order.GROUPS_FIRST, self.entries)
        made.write = self.write
        made.plan = cast("Any", type("Plan", (), {"cutover": "run"}))
        made.plan_digest = "digest"
        made.log = cast("Any", type("Log", (), {"state": type("State", (), {"pairs": {PAIR.pair: PairState(PAIR, 0)}})}))
        made.source = PAIR.source
        made.beat = lambda: None
        made.scope, made.together, made.run_plan = "", (), None
        return made

    def write(self, kind: str, stage: str, step: str, body: Body, /) -> Told:
        self.entries.append(Told(kind, stage, step, dict(body)))
        return self.entries[-1]

    def of(self, kind: str) -> list[Body]:
        return [each.body for each in self.entries if each.kind == kind]


@pytest.fixture(autouse=True)
def _pair_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "run_id", PAIR.pair)


def group(tmp_path: Path, **programs: str) -> Group:
    commands: dict[str, tuple[str, ...]] = {"stop_source": ("true",), "start_target": ("true",)}
    for verb, text in programs.items():
        path = tmp_path / f"{verb}.py"
        path.write_text(f"open({str(tmp_path / verb) + '.begun'!r}, 'a').write('x')\n{text}")
        commands[verb] = (sys.executable, str(path))
    hook = Hook(**commands, timeout="1500ms")  # type: ignore[arg-type]
    return Group(name="balances", owner="team-ledger", switch=HookSwitch(hook=hook))


def begun(tmp_path: Path, verb: str) -> int:
    path = tmp_path / f"{verb}.begun"
    return len(path.read_text()) if path.exists() else 0


def run(journal: Journal, subject: Group) -> Mapping[str, Any]:
    return JournalledHooks().run(journal.world(), subject, "start_target", STEP, running=True)


def test_a_call_is_intended_before_it_is_made_and_its_outcome_is_kept(tmp_path: Path) -> None:
    journal = Journal()
    body = run(journal, group(tmp_path, start_target="print('up')"))
    assert journal.of("intent") == [{"verb": "start_target", "name": "balances", "idempotency_key": f"run:{STEP}:1"}]
    assert journal.of("outcome") == [body]
    assert (body["status"], body["tail"], body["running"]) == (0, "up\n", True)


def test_a_call_that_said_no_is_made_again_under_another_key(tmp_path: Path) -> None:
    journal, subject = Journal(), group(tmp_path, start_target="raise SystemExit(4)")
    for attempt in (1, 2):
        with pytest.raises(HookFailed) as raised:
            run(journal, subject)
        assert raised.value.fields["idempotency_key"] == f"run:{STEP}:{attempt}"
    assert begun(tmp_path, "start_target") == 2


def test_the_positions_of_this_stay_are_told_to_a_group_that_is_started(tmp_path: Path) -> None:
    journal = Journal([Told("outcome", "moving_groups", "write:balances:0", {"side": "TARGET", "positions": {"0": 3, "1": 4}})])
    told = "import os; print(open(os.environ['CUTOVER_POSITIONS_FILE']).read())"
    assert run(journal, group(tmp_path, start_target=told))["tail"] == "t,0,3\nt,1,4\n\n"


def test_a_call_in_doubt_stays_open_in_the_journal_and_is_not_made_by_the_next_driver(tmp_path: Path) -> None:
    journal, subject = Journal(), group(tmp_path, start_target="import time; time.sleep(600)")
    for _ in range(2):
        with pytest.raises(HookUnknown):
            run(journal, subject)
    assert begun(tmp_path, "start_target") == 1
    assert journal.of("outcome") == []


def test_what_a_former_driver_left_open_and_did_is_not_done_again(tmp_path: Path) -> None:
    journal = Journal([Told("intent", "moving_groups", STEP, {})])
    body = run(journal, group(tmp_path, start_target="", check=""))
    assert (begun(tmp_path, "start_target"), body["settled_by"], body["running"]) == (0, "check", True)
    assert body["key"] == f"run:{STEP}:1"
    assert journal.of("outcome") == [body]


def test_what_a_former_driver_left_open_and_did_not_do_is_done_once(tmp_path: Path) -> None:
    journal = Journal([Told("intent", "moving_groups", STEP, {})])
    body = run(journal, group(tmp_path, start_target="", check="raise SystemExit(1)"))
    assert (begun(tmp_path, "start_target"), body["key"]) == (1, f"run:{STEP}:2")
