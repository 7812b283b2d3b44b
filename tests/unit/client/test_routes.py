from dataclasses import replace

import pytest

from cutover.client.dual import Dual
from cutover.client.errors import ClientError, ControlUnavailable, Held, InstanceReplaced
from cutover.client.following import Following
from cutover.client.gate import Route
from cutover.client.routes import dual_of, duals_of, entering, route_of
from cutover.client.settings import split
from cutover.client.watch import View
from cutover.protocol import Cut, Hold, Join, Mode, Pair, PairState, Read, Record, Release, Role, Side, Stop, Topic

SETTINGS = split(({"cutover.topic": "S", "cutover.hold.timeout": 7, "cutover.start.timeout": 3},), {})
PAIR = Pair(
    pair="p", run="r", source=Topic(name="S", id="1", partitions=1), target=Topic(name="T", id="2", partitions=2), partitioner="murmur2"
)
HOLD = Hold(pair="p", term=1, epoch=1, to=Mode.TARGET, budget_ms=1)
JOINED = View(joined={"S": "a"})


def seen(*records: Record) -> View:
    state = JOINED.state
    for offset, record in enumerate(records):
        state = state.then(offset, record)
    return replace(JOINED, state=state)


def released(to: Mode) -> View:
    hold = HOLD.model_copy(update={"to": to})
    cut = Cut(source={}, target={})
    return seen(PAIR, hold, Release.model_validate({"type": to.value, "pair": "p", "term": 1, "epoch": 1, "cut": cut}))


def error(route: Route) -> type[ClientError]:
    assert route.shut is not None
    return type(route.shut())


def test_the_route_is_the_topic_itself_without_a_pair_and_the_primary_with_one() -> None:
    assert route_of(JOINED, "S", SETTINGS) == Route("S")
    assert route_of(seen(PAIR), "S", SETTINGS) == Route("S", followed=True)
    assert route_of(released(Mode.TARGET), "S", SETTINGS) == Route("T", followed=True, moved=True)


def test_in_dual_the_route_names_the_source_and_whose_stamp_the_records_get() -> None:
    joined = Join(instance="a", session="7f", topic="S", role=Role.PRODUCER)
    released_to_dual = released(Mode.DUAL)
    view = replace(released_to_dual, state=released_to_dual.state.then(9, joined))
    dual = Dual("p", "S", "T", epoch=1, instance="a", session="7f", partitions=(1, 2), null_keys="keep_partition")
    assert route_of(view, "S", SETTINGS) == Route("S", followed=True, dual=dual)
    assert duals_of(view) == {"p": dual}
    assert duals_of(seen(PAIR)) == {}


def test_what_is_held_for_dual_is_known_with_its_epoch_before_the_release() -> None:
    view = seen(PAIR, HOLD.model_copy(update={"to": Mode.DUAL}))
    assert entering(view) == {"p": dual_of(view, view.state.pairs["p"])}
    assert entering(view)["p"].epoch == 1
    assert entering(seen(PAIR, HOLD)) == {}


def test_only_an_open_route_to_one_topic_is_direct() -> None:
    routes = (
        Route("S"),
        Route("S", followed=True),
        Route(""),
        route_of(released(Mode.DUAL), "S", SETTINGS),
        route_of(View(), "S", SETTINGS),
    )
    assert [each.direct for each in routes] == [True, True, False, False, False]


def test_a_route_is_shut_for_each_reason_with_its_error_and_its_patience() -> None:
    trouble = ControlUnavailable("gone", why="why")
    replaced = InstanceReplaced("another")
    found = {
        "starting": route_of(View(), "S", SETTINGS),
        "held": route_of(seen(PAIR, HOLD), "S", SETTINGS),
        "unknown": route_of(replace(seen(PAIR), trouble=trouble), "S", SETTINGS),
        "replaced": route_of(replace(seen(PAIR), trouble=replaced), "S", SETTINGS),
    }
    assert {name: (error(route), route.seconds) for name, route in found.items()} == {
        "starting": (ControlUnavailable, 3),
        "held": (Held, 7),
        "unknown": (ControlUnavailable, 7),
        "replaced": (InstanceReplaced, 0),
    }


def test_a_group_reads_the_side_that_the_log_says_and_a_pattern_is_left_alone() -> None:
    following = Following(SETTINGS, "g")
    following.want(["S", "^x.*"])
    assert following.resolved(seen(PAIR)) == ["S", "^x.*"]
    moved = seen(PAIR, Read(pair="p", group="g", term=1, side=Side.TARGET))
    assert following.resolved(moved) == ["T", "^x.*"]
    assert following.left(moved) == frozenset({"S"})
    assert following.moved(moved) == frozenset({"T"})


def test_two_names_of_one_pair_are_one_topic() -> None:
    following = Following(SETTINGS, "g")
    following.want(["S", "T"])
    assert following.resolved(replace(seen(PAIR), joined={"S": "a", "T": "a/T"})) == ["S"]


def test_nothing_is_subscribed_before_the_log_was_joined_or_while_it_is_unknown() -> None:
    following = Following(SETTINGS, "g")
    following.want(["S"])
    assert following.resolved(View()) is None
    assert following.waits(View())
    assert following.resolved(replace(JOINED, trouble=ControlUnavailable("gone"))) is None


def test_a_replaced_member_fails_at_once() -> None:
    following = Following(SETTINGS, "g")
    following.want(["S"])
    with pytest.raises(InstanceReplaced):
        following.resolved(replace(JOINED, trouble=InstanceReplaced("another")))


def test_only_the_stop_of_its_own_group_concerns_a_member() -> None:
    view = seen(PAIR, Stop(pair="p", group="g", term=1, budget_ms=1))
    assert [each.topic for each in Following(SETTINGS, "g").stops(view)] == ["S"]
    assert Following(SETTINGS, "other").stops(view) == []
    state: PairState = view.state.pairs["p"]
    assert state.group("g").stop is not None
