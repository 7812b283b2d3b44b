"""Groups that are stopped and started as a whole: wherever the move is turned around or refused, nobody is left standing still."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover import moves
from cutover.errors import HookFailed, HookUnknown, TooManyDuplicates
from cutover.history import Body, History, Told
from cutover.lifecycle import Order, Stage
from cutover.moves import crossing
from cutover.plan import Group
from cutover.protocol import Read, Side
from cutover.world import World

NAME = "balances"
STEPS = 40


@dataclass
class Shop:
    """A run with one group, and the service that it is: `runs` is the truth, `said` what the control log says."""

    by_hook: bool = True
    can_check: bool = True
    refused: bool = False
    runs: Side | None = Side.SOURCE
    said: Side = Side.SOURCE
    doubt: str = ""
    """What becomes of the next call of the hook: fails, or nobody knows whether it "happened" or was "lost"."""
    calls: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    history: History = field(default_factory=lambda: History.of(Order.GROUPS_FIRST, [Told("state", "", "", {"stage": "moving_groups"})]))

    def __post_init__(self) -> None:
        switch: Any = {
            "hook": {"check": ["true"], "stop_source": ["a"], "start_target": ["b"], "stop_target": ["c"], "start_source": ["d"]}
        }
        self.group = Group.model_validate(
            {
                "name": NAME,
                "owner": "team-ledger",
                "switch": switch if self.by_hook else "manual",
                "hand_off": "at_least_once",
                "max_duplicates": 10,
            }
        )
        self.plan = SimpleNamespace(cutover="run", groups=[self.group], strategy="mirror", moves=SimpleNamespace(parallel=1))
        self.whole, self.hooks, self.log, self.watch = self.plan, self, self, SimpleNamespace(set_aside={})
        self.source = SimpleNamespace(name="orders")
        self.run_id = "pair"

    # What a World is to the moves.

    def having(self, _: object) -> tuple["Shop", ...]:
        return (self,)

    def topic(self, side: Side) -> SimpleNamespace:
        return SimpleNamespace(name="orders" if side is Side.SOURCE else "orders.v2")

    @property
    def pair(self) -> SimpleNamespace:
        return SimpleNamespace(pair="pair", term=1, group=lambda _: SimpleNamespace(side=self.said))

    def say(self, message: Read) -> None:
        self.said = message.side

    def tell(self, words: str) -> None:
        self.told.append(words)

    def record(self, kind: str, step: str, body: Body) -> None:
        self.history = self.history.then(Told(kind, self.history.standing.stage.value, step, body))

    def fact(self, step: str) -> Body | None:
        return self.history.facts.get(step)

    @contextmanager
    def act(self, step: str, **intent: object) -> Iterator[dict[str, Any]]:
        with World.act(self, step, **intent) as evidence:  # type: ignore[arg-type]
            yield evidence

    # What its hook does.

    def run(self, _world: object, _subject: object, verb: str, step: str) -> Body:
        if step in self.history.unsettled:
            settled = self.settle(self, self.group, verb, step)
            if "failed" not in settled:
                return settled
        self.calls.append(verb)
        with self.act(step, verb=verb) as evidence:
            doubt, self.doubt = self.doubt, ""
            if doubt == "fails":
                raise HookFailed("it said so")
            if doubt != "lost":
                word, _, side = verb.partition("_")
                assert word == "stop" or self.runs in {None, Side(side.upper())}, "it runs twice"
                self.runs = None if word == "stop" else Side(side.upper())
            if doubt:
                raise HookUnknown("nobody knows")
            evidence["verb"] = verb
        return evidence

    def settle(self, _world: object, _subject: object, verb: str, step: str) -> Body:
        if not self.can_check:
            raise HookUnknown("nobody knows")
        word, _, side = verb.partition("_")
        happened = (self.runs is None) if word == "stop" else self.runs is Side(side.upper())
        body: Body = {"verb": verb} if happened else {"failed": {}}
        self.record("outcome", step, body)
        return body

    # What people do.

    def confirm(self, word: str) -> None:
        step, verb = moves.confirmed(self, self.group, word)  # type: ignore[arg-type]
        self.record("outcome", step, {"verb": verb, "confirmed": word})

    def person(self, words: str) -> None:
        """Does what a run asks for, and says so."""
        if "stop every member" in words:
            self.runs = None
            self.confirm("stopped")
        elif "start it on orders.v2" in words:
            self.runs = Side.TARGET
            self.confirm("started")
        elif "start it on orders" in words:
            self.runs = Side.SOURCE
            self.confirm("started")

    def want(self, to: Side) -> None:
        """The run goes forward, or back."""
        goal = {"to": Stage.COMPLETED.value, "back": False} if to is Side.TARGET else {"to": Stage.PLANNED.value, "back": True}
        self.record("decision", "goal", {"goal": goal})

    def moved(self, to: Side) -> bool:
        return moves.moved(self, self.group, to)  # type: ignore[arg-type]

    def go(self, to: Side, steps: int = 1) -> None:
        """So many acts; what goes wrong is looked at anew, as a driver does."""
        for _ in range(steps):
            if self.moved(to):
                return
            waits = moves.waits_for(self, self.group, to)  # type: ignore[arg-type]
            if waits is not None:
                if waits.on_person:
                    self.person(waits.words)
                continue
            try:
                moves.step(self, self.group, to)  # type: ignore[arg-type]
            except (HookUnknown, HookFailed, TooManyDuplicates):
                continue

    def members(self) -> dict[Side, tuple[str, ...]]:
        return {side: ("m1",) if self.runs is side else () for side in Side}


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moves look at the shop instead of at a cluster."""

    def last(shop: Shop, _: object) -> SimpleNamespace:
        return SimpleNamespace(duplicates=11 if shop.refused else 3, lost=0)

    def write(shop: Shop, group: Group, to: Side, found: SimpleNamespace) -> Body:
        assert shop.runs is None, "a position is written while somebody reads"
        body = {"side": to.value, "positions": {"0": 1}, "duplicates": found.duplicates}
        shop.record("outcome", f"write:{group.name}:{crossing.stay(shop, group)}", body)  # type: ignore[arg-type]
        return body

    monkeypatch.setattr(crossing, "members", lambda shop, _: shop.members())
    monkeypatch.setattr(moves, "members", lambda shop, _: shop.members())
    monkeypatch.setattr(crossing, "others", lambda found: ", ".join(found))
    monkeypatch.setattr(moves, "others", lambda found: ", ".join(found))
    for name in ("needs_cut", "drains", "note_latest", "tell_price", "final"):
        monkeypatch.setattr(crossing, name, lambda *_: None)
    monkeypatch.setattr(crossing, "last", last)
    monkeypatch.setattr(crossing, "write", write)
    monkeypatch.setattr(crossing, "untouched", lambda *_: True)


def stands(shop: Shop, side: Side) -> bool:
    """Everything agrees on where the group reads, and nothing is left open."""
    return (shop.runs, shop.said, moves.standing_still(shop)) == (side, side, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("by_hook", [True, False], ids=["hook", "manual"])
def test_it_goes_there_and_back(by_hook: bool) -> None:
    shop = Shop(by_hook)
    for to in (Side.TARGET, Side.SOURCE, Side.TARGET):
        shop.want(to)
        shop.go(to, STEPS)
        assert stands(shop, to)


def test_one_that_may_not_go_is_started_where_it_was_and_that_is_said() -> None:
    shop = Shop(refused=True)
    shop.go(Side.TARGET)
    with pytest.raises(TooManyDuplicates) as refused:
        moves.step(shop, shop.group, Side.TARGET)  # type: ignore[arg-type]
    assert (shop.runs, shop.calls) == (Side.SOURCE, ["stop_source", "start_source"])
    assert refused.value.traffic_now == "balances was started again where it was, on orders."
    shop.want(Side.SOURCE)
    shop.go(Side.SOURCE, STEPS)
    assert stands(shop, Side.SOURCE)
    assert shop.calls == ["stop_source", "start_source"]


def test_a_person_whose_group_may_not_go_is_told_that_it_stands_still() -> None:
    shop = Shop(by_hook=False, refused=True)
    shop.go(Side.TARGET)
    with pytest.raises(TooManyDuplicates) as refused:
        moves.step(shop, shop.group, Side.TARGET)  # type: ignore[arg-type]
    assert refused.value.traffic_now == (
        "balances stands still. team-ledger can start it where it was, on orders; then: cutover confirm run balances started"
    )
    shop.runs = Side.SOURCE
    shop.confirm("started")
    shop.go(Side.TARGET)
    assert stands(shop, Side.SOURCE)


@pytest.mark.parametrize("acts", range(1, 5))
@pytest.mark.parametrize("by_hook", [True, False], ids=["hook", "manual"])
def test_turned_around_after_each_act_it_reads_where_it_is_wanted(acts: int, by_hook: bool) -> None:
    shop = Shop(by_hook)
    shop.go(Side.TARGET, acts)
    shop.want(Side.SOURCE)
    shop.go(Side.SOURCE, STEPS)
    assert stands(shop, Side.SOURCE)


def test_a_driver_that_died_after_the_log_was_told_leaves_nothing_that_the_next_move_would_believe() -> None:
    shop = Shop()
    while shop.said is Side.SOURCE:
        shop.go(Side.TARGET)
    shop.history = History(
        shop.history.standing,
        facts={step: body for step, body in shop.history.facts.items() if not step.startswith("moved:")},
        counts=shop.history.counts,
    )
    shop.want(Side.SOURCE)
    shop.go(Side.SOURCE, STEPS)
    assert stands(shop, Side.SOURCE)
    assert shop.calls[-2:] == ["stop_target", "start_source"]


@pytest.mark.parametrize("doubt", ["happened", "lost"])
@pytest.mark.parametrize("turned", [True, False], ids=["turned around", "going on"])
@pytest.mark.parametrize("call", [0, 1], ids=["stop", "start"])
def test_a_call_of_which_nobody_knows_what_came_is_settled_by_its_check(doubt: str, turned: bool, call: int) -> None:
    shop = Shop()
    shop.go(Side.TARGET, 2 * call)
    shop.doubt = doubt
    shop.go(Side.TARGET)
    to = Side.SOURCE if turned else Side.TARGET
    shop.want(to)
    shop.go(to, STEPS)
    assert stands(shop, to)


def test_no_cut_is_taken_for_one_that_stands_still_and_could_not_come_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, cuts = Shop(), list[str]()
    monkeypatch.setattr(crossing, "needs_cut", lambda *_: shop.runs is None or not cuts)

    def take_cuts(*_: object) -> Body:
        cuts.append(str(shop.runs))
        return {}

    monkeypatch.setattr(crossing, "take_cuts", take_cuts)
    shop.go(Side.TARGET, STEPS)
    assert stands(shop, Side.TARGET)
    assert cuts == ["SOURCE"]


@pytest.mark.parametrize("doubt", ["happened", "lost"])
def test_one_that_is_turned_around_twice_while_nobody_knows_whether_it_was_started_is_started_in_the_end(doubt: str) -> None:
    shop = Shop()
    shop.go(Side.TARGET, 2)
    shop.doubt = doubt
    for to in (Side.TARGET, Side.SOURCE):
        shop.want(to)
        shop.go(to)
    shop.want(Side.TARGET)
    shop.go(Side.TARGET, STEPS)
    assert stands(shop, Side.TARGET)


@pytest.mark.parametrize("word", ["stopped", "started"])
def test_without_a_check_it_waits_for_a_person_who_knows(word: str) -> None:
    shop = Shop(can_check=False, doubt="happened" if word == "stopped" else "lost")
    shop.go(Side.TARGET)
    shop.want(Side.SOURCE)
    shop.go(Side.SOURCE, STEPS)
    assert not shop.moved(Side.SOURCE)
    assert shop.calls == ["stop_source"]
    shop.confirm(word)
    shop.go(Side.SOURCE, STEPS)
    assert stands(shop, Side.SOURCE)


DEEDS = st.lists(st.sampled_from(["forward", "back", "fails", "happened", "lost", "refuse", "allow", "act", "act"]), max_size=25)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=DEEDS, by_hook=st.booleans(), end=st.sampled_from(Side))
def test_whatever_happens_on_the_way_it_reads_where_it_is_wanted_in_the_end(deeds: list[str], by_hook: bool, end: Side) -> None:
    shop, to = Shop(by_hook), Side.TARGET
    for deed in deeds:
        match deed:
            case "forward" | "back":
                to = Side.TARGET if deed == "forward" else Side.SOURCE
                shop.want(to)
            case "refuse" | "allow":
                shop.refused = deed == "refuse" and to is Side.TARGET
            case "act":
                shop.go(to)
            case doubt:
                shop.doubt = doubt
    shop.refused, shop.doubt = False, ""
    shop.want(end)
    shop.go(end, STEPS)
    assert stands(shop, end)
