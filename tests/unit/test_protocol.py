"""The fold of the control log: every record in every state, and what no order of records can bring about."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover import protocol
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
    PairState,
    Read,
    Record,
    Release,
    Role,
    Side,
    Stop,
    Topic,
    UnreadableRecordError,
    Until,
    With,
    document,
    greatest,
    parse,
    problems,
)

DOCS = Path(__file__).parents[2] / "docs" / "protocol.md"
CUT = Cut(source={0: 5}, target={0: 5})
G = "balances"


def pair(name: str = "p", source: str = "S", target: str = "T") -> Pair:
    return Pair(
        pair=name,
        run="r",
        source=Topic(name=source, id=f"id-{source}", partitions=1),
        target=Topic(name=target, id=f"id-{target}", partitions=2),
        partitioner="murmur2",
    )


def join(name: str = "a", session: str = "1", topic: str = "S", **more: Any) -> Join:  # noqa: ANN401
    return Join(instance=name, session=session, topic=topic, **{"role": Role.PRODUCER, **more})


def member(name: str = "m", group: str = G) -> Join:
    return join(name, role=Role.CONSUMER, group=group)


def hold(term: int = 1, epoch: int = 1, to: Mode = Mode.TARGET) -> Hold:
    return Hold(pair="p", term=term, epoch=epoch, to=to, budget_ms=1000)


def release(term: int = 1, epoch: int = 1, to: str = "TARGET", cut: Cut | None = CUT) -> Release:
    return Release.model_validate({"type": to, "pair": "p", "term": term, "epoch": epoch, "cut": cut})


def undo(term: int = 1, epoch: int = 0, to: str = "SOURCE") -> Release:
    return release(term, epoch, to, None)


def stop(term: int = 1, group: str = G) -> Stop:
    return Stop(pair="p", group=group, term=term, budget_ms=1000)


def until(term: int = 1, offsets: dict[int, int] | None = None) -> Until:
    return Until(pair="p", group=G, term=term, offsets=offsets or {0: 9})


def read(term: int = 1, side: Side = Side.TARGET) -> Read:
    return Read(pair="p", group=G, term=term, side=side)


def ack(name: str = "a", term: int = 1, **more: Any) -> Ack:  # noqa: ANN401
    return Ack(instance=name, pair="p", term=term, **more)


def expired(term: int = 1) -> Expired:
    return Expired(instance="a", pair="p", term=term)


def fold(*records: Record) -> ControlState:
    state = ControlState()
    for offset, record in enumerate(records):
        state = state.then(offset, record)
    return state


def held(*records: Record) -> PairState:
    return fold(pair(), *records).pairs["p"]


def test_a_pair_begins_on_the_source() -> None:
    state = held()
    assert (state.mode, state.epoch, state.term, state.hold, state.primary.name) == (Mode.SOURCE, 0, 0, None, "S")
    assert state.group(G).side is Side.SOURCE


def test_a_second_record_of_the_same_pair_changes_nothing() -> None:
    assert fold(pair(), pair("p", "X", "Y")).pairs["p"].told.source.name == "S"


def test_a_release_with_a_cut_begins_the_epoch() -> None:
    state = held(hold(), release())
    assert (state.mode, state.epoch, state.hold, state.outcomes, state.cuts) == (Mode.TARGET, 1, None, {1: "done"}, {1: CUT})
    assert state.primary.name == "T"


def test_the_topics_are_related_as_they_are_now_since_both_were_written_or_were_no_more() -> None:
    records: list[Record] = []
    related = []
    for number, mode in enumerate([Mode.TARGET, Mode.DUAL, Mode.SOURCE, Mode.TARGET], 1):
        records += [hold(number, number, mode), release(number, number, mode.value)]
        related.append(held(*records).related)
    assert related == [0, 2, 3, 3]
    assert list(held(*records).modes.values()) == [Mode.SOURCE, Mode.TARGET, Mode.DUAL, Mode.SOURCE, Mode.TARGET]


def test_a_release_without_a_cut_leaves_everything_as_it_was() -> None:
    state = held(hold(), undo())
    assert (state.mode, state.epoch, state.hold, state.outcomes) == (Mode.SOURCE, 0, None, {1: "undone"})


def test_a_term_that_was_undone_is_not_used_again() -> None:
    assert held(hold(), undo(), hold(1)).hold is None
    assert held(hold(), undo(), hold(2)).hold is not None


def test_the_way_back_is_a_hold_to_the_source() -> None:
    state = held(hold(), release(), hold(2, 2, Mode.SOURCE), release(2, 2, "SOURCE"))
    assert (state.mode, state.epoch) == (Mode.SOURCE, 2)


@pytest.mark.parametrize("first", ["release", "expired"])
def test_whichever_of_release_and_expired_stands_first_decides(first: str) -> None:
    records: list[Record] = [release(), expired()] if first == "release" else [expired(), release()]
    state = held(hold(), *records)
    assert state.mode is (Mode.TARGET if first == "release" else Mode.SOURCE)
    assert state.outcomes == {1: "done" if first == "release" else "expired"}


@pytest.mark.parametrize(
    "void",
    [
        release(2),
        release(epoch=2),
        release(to="DUAL"),
        hold(1),
        hold(0),
        hold(2, epoch=2),
        expired(9),
        ack(term=9),
        ack("a", until=True, term=3),
        until(),
        stop(1),
        Close(pair="unknown"),
        Hold(pair="unknown", term=9, epoch=1, to=Mode.TARGET, budget_ms=1),
    ],
    ids=repr,
)
def test_a_record_whose_condition_does_not_hold_changes_nothing_but_the_place(void: Record) -> None:
    before = fold(pair(), join(), hold())
    after = before.then(3, void)
    assert (after.pairs, after.instances, after.after) == (before.pairs, before.instances, 4)


def test_a_later_hold_supersedes_and_the_earlier_ones_release_is_void() -> None:
    state = held(hold(1), hold(2), release(1))
    assert state.hold is not None
    assert (state.hold.term, state.outcomes) == (2, {1: "superseded"})


def test_who_joined_before_the_hold_must_answer_and_who_joined_after_need_not() -> None:
    state = fold(pair(), join("a"), hold(), join("b"))
    assert [each.name for each in state.missing("p")] == ["a"]
    assert fold(pair(), join("a"), hold(), join("b"), ack("a")).missing("p") == ()


def test_a_join_that_was_appended_twice_counts_where_it_stands_first() -> None:
    assert [each.name for each in fold(pair(), join("a"), hold(), join("a")).missing("p")] == ["a"]
    assert fold(pair(), join("a"), hold(), join("a", "2")).missing("p") == ()


def test_a_leave_counts_as_the_acknowledgement_with_its_offsets() -> None:
    state = fold(pair(), join("a"), hold(), Leave(instance="a", session="1", offsets={0: 7}))
    assert state.missing("p") == ()
    asked = state.pairs["p"].hold
    assert asked is not None
    assert greatest(asked.acks.values()) == {0: 7}


def test_a_leave_of_an_earlier_session_takes_nobody_out() -> None:
    state = fold(pair(), join("a", "1"), join("a", "2"), Leave(instance="a", session="1"))
    assert state.instances["a"].joined.session == "2"


def test_a_persons_leave_needs_no_session_and_leave_of_a_stranger_changes_nobody() -> None:
    assert fold(join("a"), Leave(instance="a", by="team-orders")).instances == {}
    assert set(fold(join("a"), Leave(instance="b", by="team-orders")).instances) == {"a"}


def test_a_members_leave_takes_it_out_of_who_must_answer_and_is_no_producers_acknowledgement() -> None:
    state = fold(pair(), member(), hold(), Leave(instance="m", session="1"))
    assert state.pairs["p"].hold is not None
    assert state.pairs["p"].hold.acks == {}


def test_only_members_of_the_stopped_group_must_answer() -> None:
    state = fold(pair(), member("m"), member("n", "other"), join("a"), stop())
    assert [each.name for each in state.missing("p", G)] == ["m"]
    assert state.missing("p", "other") == ()


def test_a_group_is_moved_by_read_and_counts_its_moves() -> None:
    state = held(stop(), read())
    assert (state.group(G).side, state.group(G).moves, state.outcomes) == (Side.TARGET, 1, {1: "done"})
    back = held(stop(), read(), stop(2), read(2, Side.SOURCE))
    assert (back.group(G).side, back.group(G).moves) == (Side.SOURCE, 2)


def test_read_of_the_same_side_undoes_a_stop_and_is_no_move() -> None:
    state = held(stop(), read(side=Side.SOURCE))
    assert (state.group(G).moves, state.group(G).stop, state.outcomes) == (0, None, {1: "undone"})


def test_read_after_expired_is_void() -> None:
    state = held(stop(), expired(), read())
    assert (state.group(G).side, state.outcomes) == (Side.SOURCE, {1: "expired"})


def test_read_by_itself_says_where_a_group_without_members_reads() -> None:
    assert held(read(5)).group(G).side is Side.TARGET
    assert held(hold(5), read(5)).group(G).side is Side.SOURCE


def test_read_of_a_newer_term_supersedes_the_open_stop() -> None:
    state = held(stop(1), read(2))
    assert (state.group(G).stop, state.outcomes) == (None, {1: "superseded", 2: "done"})


def test_a_later_stop_supersedes() -> None:
    state = held(stop(1), stop(2))
    assert state.outcomes == {1: "superseded"}
    assert (found := state.group(G).stop) is not None
    assert found.term == 2


def test_until_asks_everybody_again_and_those_who_joined_meanwhile_too() -> None:
    before = fold(pair(), member("m"), stop(), ack("m"), member("n"))
    assert before.missing("p", G) == ()
    after = before.then(5, until())
    assert {each.name for each in after.missing("p", G)} == {"m", "n"}
    late = after.then(6, ack("m"))
    assert {each.name for each in late.missing("p", G)} == {"m", "n"}
    assert {each.name for each in late.then(7, ack("m", until=True)).missing("p", G)} == {"n"}


def test_until_brings_its_own_budget_or_that_of_the_stop_again() -> None:
    with_budget = until().model_copy(update={"budget_ms": 9000})
    for record, budget_ms in ((with_budget, 9000), (until(), 1000)):
        asked = held(stop(), record).group(G).stop
        assert asked is not None
        assert asked.budget_ms == budget_ms


def test_close_ends_what_is_open_and_the_pair_changes_no_more() -> None:
    state = held(stop(1), hold(2), Close(pair="p"), release(2), read(1), hold(3))
    assert (state.hold, state.group(G).stop, state.mode, state.closed) == (None, None, Mode.SOURCE, True)
    assert state.outcomes == {1: "closed", 2: "closed"}


def test_a_problem_is_told_by_name() -> None:
    state = held(join("a"), hold(), ack("a", problem="explicit partitions"), ack("b"))
    assert state.hold is not None
    assert problems(state.hold) == {"a": "explicit partitions"}


def test_the_greatest_offset_is_taken_by_partition() -> None:
    assert greatest([ack(offsets={0: 3, 1: 9}), ack("b", offsets={0: 4})]) == {0: 4, 1: 9}


def test_a_name_follows_its_pair_and_after_close_the_pair_that_goes_on_from_it() -> None:
    first: list[Record] = [pair("p", "S", "T"), hold(), release(), Close(pair="p")]
    assert fold(pair()).follow("T") == fold(pair()).follow("S")
    assert fold().follow("S") is None
    closed = fold(*first)
    assert (found := closed.follow("S")) is not None
    assert found.primary.name == "T"
    onward = fold(*first, pair("q", "T", "U"))
    assert (found := onward.follow("S")) is not None
    assert found.pair == "q"


def test_a_pair_that_was_rolled_back_and_closed_leads_to_the_next_one_from_the_source() -> None:
    state = fold(pair("p", "S", "T"), Close(pair="p"), pair("q", "S", "T2"))
    assert {name: found.pair for name in ("S", "T", "T2") if (found := state.follow(name))} == {"S": "q", "T": "q", "T2": "q"}


def test_an_open_pair_is_not_left_for_a_later_one() -> None:
    state = fold(pair("p", "S", "T"), hold(), release(), pair("q", "T", "U"))
    assert (found := state.follow("S")) is not None
    assert found.pair == "p"


def test_members_are_those_whom_the_pair_governs() -> None:
    state = fold(pair(), join("a", topic="S"), join("b", topic="T"), join("c", topic="X"))
    assert {each.name for each in state.members("p", Role.PRODUCER)} == {"a", "b"}


def both(*records: Record) -> tuple[PairState, PairState]:
    """What a log says of p and q, each of its own topics."""
    pairs = fold(pair("p", "S", "T"), pair("q", "X", "Y"), *records).pairs
    return pairs["p"], pairs["q"]


def joint_hold(term: int = 1, epoch: int = 1, other: int = 1) -> Hold:
    return Hold(v=2, pair="p", term=term, epoch=epoch, to=Mode.TARGET, budget_ms=1000, also=(Another(pair="q", epoch=other),))


def joint_release(term: int = 1, epoch: int = 1, other: int = 1, cut: Cut | None = CUT) -> Release:
    also = (Another(pair="q", epoch=other, cut=cut),)
    return Release(type="TARGET", v=2, pair="p", term=term, epoch=epoch, cut=CUT, also=also)


def expired_at(name: str, term: int = 1) -> Expired:
    return Expired(instance="a", pair=name, term=term)


def test_a_release_of_several_pairs_begins_the_epoch_of_each() -> None:
    for each in both(joint_hold(), joint_release()):
        assert (each.mode, each.epoch, each.hold, each.cuts, each.outcomes) == (Mode.TARGET, 1, None, {1: CUT}, {1: "done"})


@pytest.mark.parametrize("name", ["p", "q"])
def test_an_instance_of_either_pair_that_gives_up_voids_the_release_for_both(name: str) -> None:
    for each in both(joint_hold(), expired_at(name), joint_release()):
        assert (each.mode, each.epoch, each.hold, each.outcomes) == (Mode.SOURCE, 0, None, {1: "expired"})


@pytest.mark.parametrize(
    "void",
    [
        release(),
        joint_release(epoch=2),
        joint_release(other=2),
        joint_release(cut=None),
        joint_release(term=2),
        joint_release().model_copy(update={"also": (Another(pair="z", epoch=1, cut=CUT),)}),
    ],
    ids=["one pair alone", "a wrong epoch", "a wrong epoch of the other", "no cut for the other", "another term", "a stranger"],
)
def test_a_release_that_does_not_fit_every_pair_of_its_hold_is_void_for_all(void: Record) -> None:
    before, after = both(joint_hold()), both(joint_hold(), void)
    assert after == before
    assert all(each.hold is not None for each in after)


@pytest.mark.parametrize("void", [joint_hold(other=2), joint_hold(epoch=2), joint_hold(term=0)])
def test_a_hold_that_does_not_fit_every_pair_holds_none(void: Hold) -> None:
    assert all(each.hold is None for each in both(void))


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (undo(), "undone"),
        (Close(pair="q"), "closed"),
        (Hold(pair="q", term=2, epoch=1, to=Mode.TARGET, budget_ms=1), "superseded"),
    ],
    ids=["undone", "closed", "superseded"],
)
def test_a_hold_of_several_pairs_that_ends_for_one_ends_for_all(end: Record, outcome: str) -> None:
    for each in both(joint_hold(), end, joint_release()):
        assert (each.mode, each.epoch, each.outcomes[1]) == (Mode.SOURCE, 0, outcome)
        assert each.hold is None or each.hold.term == 2


def test_the_pairs_of_a_hold_take_one_term_above_all_of_theirs() -> None:
    alone = Hold(pair="q", term=7, epoch=1, to=Mode.TARGET, budget_ms=1)
    p, q = both(alone, Release(type="SOURCE", pair="q", term=7, epoch=0), joint_hold(7))
    assert (p.hold, q.hold) == (None, None)
    p, q = both(alone, Release(type="SOURCE", pair="q", term=7, epoch=0), joint_hold(8))
    assert (p.term, q.term) == (8, 8)


def joint_stop(term: int = 1) -> Stop:
    return Stop(v=2, pair="p", group=G, term=term, budget_ms=1000, also=(With(pair="q"),))


def joint_read(term: int = 1, side: Side = Side.TARGET) -> Read:
    return Read(v=2, pair="p", group=G, term=term, side=side, also=(With(pair="q"),))


def test_a_group_that_reads_several_pairs_is_moved_in_all_by_one_record() -> None:
    for each in both(joint_stop(), joint_read()):
        assert (each.group(G).side, each.group(G).moves, each.group(G).stop, each.outcomes) == (Side.TARGET, 1, None, {1: "done"})


@pytest.mark.parametrize("name", ["p", "q"])
def test_a_member_that_gives_up_in_either_pair_leaves_the_group_where_it_was_in_both(name: str) -> None:
    for each in both(joint_stop(), expired_at(name), joint_read()):
        assert (each.group(G).side, each.group(G).stop, each.outcomes) == (Side.SOURCE, None, {1: "expired"})


def test_a_read_of_the_same_side_in_one_pair_lets_the_group_go_on_in_both() -> None:
    for each in both(joint_stop(), read(side=Side.SOURCE)):
        assert (each.group(G).side, each.group(G).moves, each.group(G).stop, each.outcomes) == (Side.SOURCE, 0, None, {1: "undone"})


@pytest.mark.parametrize(
    "void", [read(), joint_read(2), Stop(v=2, pair="p", group=G, term=1, budget_ms=1, also=(With(pair="q"),))], ids=repr
)
def test_a_read_or_a_stop_that_does_not_fit_every_pair_is_void_for_all(void: Record) -> None:
    before, after = both(joint_stop()), both(joint_stop(), void)
    assert after == before
    assert all(each.group(G).stop is not None for each in after)


def test_until_is_for_each_pair_and_the_stop_stays_one() -> None:
    p, q = both(joint_stop(), until(), Until(pair="q", group=G, term=1, offsets={0: 3}), joint_read())
    assert (p.group(G).side, q.group(G).side) == (Side.TARGET, Side.TARGET)


def test_who_knows_only_one_pair_a_record_stops_at_one_of_several() -> None:
    assert b'"v":2' in joint_hold().encoded()
    for words in (joint_hold().encoded().replace(b'"v":2', b'"v":1'), hold().encoded().replace(b'"v":1', b'"v":2')):
        with pytest.raises(UnreadableRecordError):
            parse(words)
    assert b"also" not in hold().encoded() + release().encoded()


EXAMPLES: Sequence[Record] = (
    pair(),
    hold(),
    joint_hold(),
    joint_release(),
    release(),
    undo(),
    joint_stop(),
    stop(),
    until(),
    joint_read(),
    read(),
    Close(pair="p"),
    join("a", partitioner="murmur2"),
    member(),
    Leave(instance="a", session="1", offsets={0: 3}),
    ack(offsets={0: 1}),
    expired(),
)


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: record.type)
def test_a_record_reads_back_as_what_was_written(record: Message) -> None:
    assert parse(record.encoded()) == record


@pytest.mark.parametrize(
    "value",
    [None, b"", b"{}", b"not json", b'{"v":1,"type":"JUMP"}', b'{"v":2,"type":"CLOSE","pair":"p"}', b'{"v":1,"type":"HOLD","pair":"p"}'],
)
def test_what_is_not_of_the_protocol_is_unreadable(value: bytes | None) -> None:
    with pytest.raises(UnreadableRecordError):
        parse(value)


def test_a_field_that_is_new_is_ignored() -> None:
    assert parse(b'{"v":1,"type":"CLOSE","pair":"p","color":"blue"}') == Close(pair="p")


def test_the_document_says_what_the_state_is() -> None:
    told = document(fold(pair(), join("a"), member(), hold(), stop(2)))
    assert told["pairs"]["p"] == {
        "mode": "SOURCE",
        "epoch": 0,
        "term": 2,
        "held": 1,
        "groups": {G: {"side": "SOURCE", "stopped": 2}},
        "closed": False,
    }
    assert told["instances"]["m"] == {"topic": "S", "role": "consumer", "group": G}


small = st.integers(1, 6)
RECORDS = st.one_of(
    st.just(pair()),
    st.builds(hold, small, small, st.sampled_from(Mode)),
    st.builds(release, small, small, st.sampled_from([each.value for each in Mode]), st.sampled_from([CUT, None])),
    st.builds(stop, small, st.sampled_from([G, "other"])),
    st.builds(until, small),
    st.builds(read, small, st.sampled_from(Side)),
    st.builds(ack, st.sampled_from("ab"), small, until=st.booleans()),
    st.builds(expired, small),
    st.builds(join, st.sampled_from("ab"), st.sampled_from("12")),
    st.builds(member, st.sampled_from("mn"), st.sampled_from([G, "other"])),
    st.builds(Leave, instance=st.sampled_from("abmn"), session=st.sampled_from(["1", "2", None])),
    st.builds(Close, pair=st.just("p")),
)


@settings(max_examples=400)
@given(st.lists(RECORDS, max_size=40))
def test_no_order_of_records_breaks_what_everybody_relies_on(records: list[Record]) -> None:
    state = fold(pair())
    for offset, record in enumerate(records, 1):
        before, state = state.pairs["p"], state.then(offset, record)
        after = state.pairs["p"]
        assert state.after == offset + 1
        assert after.term >= before.term
        assert after.epoch - before.epoch in {0, 1}
        assert (after.mode is before.mode) or after.epoch == before.epoch + 1
        assert before.outcomes.items() <= after.outcomes.items(), "a term that ended was decided again"
        assert after.hold is None or after.hold.term not in after.outcomes
        assert after == before or not before.closed
        assert {each.name for each in state.missing("p")} <= set(state.instances)


OF_BOTH = st.one_of(
    st.builds(joint_hold, small, small, small),
    st.builds(joint_release, small, small, small),
    st.builds(hold, small, small, st.just(Mode.TARGET)),
    st.builds(release, small, small),
    st.builds(expired_at, st.sampled_from("pq"), small),
    st.builds(undo, small),
    st.builds(stop, small),
    st.builds(joint_stop, small),
    st.builds(joint_read, small, st.sampled_from(Side)),
    st.builds(Close, pair=st.sampled_from("pq")),
)


@settings(max_examples=400)
@given(st.lists(OF_BOTH, max_size=40))
def test_no_order_of_records_decides_a_hold_of_several_pairs_for_some_of_them_alone(records: list[Record]) -> None:
    state = fold(pair("p", "S", "T"), pair("q", "X", "Y"))
    open_terms: set[int] = set()
    for offset, record in enumerate(records, 2):
        state = state.then(offset, record)
        holds = [state.pairs[name].hold for name in "pq"]
        joint = [each for each in holds if each is not None and len(each.pairs) > 1]
        assert len({each.at for each in joint}) <= 1
        assert len(joint) in {0, 2}
        stops = [stop for name in "pq" if (stop := state.pairs[name].group(G).stop) is not None and len(stop.pairs) > 1]
        assert len({each.at for each in stops}) <= 1
        assert len(stops) in {0, 2}
        open_terms |= {each.term for each in (*joint, *stops)}
    still = {each.hold.term for each in state.pairs.values() if each.hold is not None}
    still |= {stop.term for name in "pq" if (stop := state.pairs[name].group(G).stop) is not None}
    for term in open_terms - still:
        assert len({state.pairs[name].outcomes[term] for name in "pq"}) == 1


@given(st.lists(RECORDS, max_size=30), st.integers(0, 29))
def test_a_record_that_comes_again_at_once_changes_nothing(records: list[Record], place: int) -> None:
    again = [*records[: place + 1], *records[place : place + 1], *records[place + 1 :]]
    once, twice = fold(pair(), *records).pairs["p"], fold(pair(), *again).pairs["p"]
    assert (once.mode, once.epoch, once.term, once.outcomes) == (twice.mode, twice.epoch, twice.term, twice.outcomes)
    assert {name: group.side for name, group in once.groups.items()} == {name: group.side for name, group in twice.groups.items()}


def rows(page: str, heading: str) -> list[list[str]]:
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")]


def test_the_page_has_a_row_for_every_change_and_no_other() -> None:
    named = {re.findall(r"[A-Z]+", row[0])[0] for row in rows(DOCS.read_text(), "What each record changes")}
    changes = {each.__name__.upper() for each in protocol._CHANGES}
    assert named == changes | {"PAIR", "JOIN", "LEAVE"}


def test_the_page_names_every_field_of_every_record() -> None:
    told = {name: row[2] for row in rows(DOCS.read_text(), "Records") for name in re.findall(r"`([A-Z]+)`", row[0])}
    kinds = {str(each.type): type(each) for each in EXAMPLES}
    assert set(told) == set(kinds) | {"DUAL"}
    for name, kind in kinds.items():
        fields = set(kind.model_fields) - {"v", "type"}
        assert fields - set(re.findall(r"`(\w+)`", told[name])) == set(), name


def test_who_does_not_answer_is_shut_out_under_the_id_that_it_writes_with() -> None:
    plain, own = join("a"), join("b", transactional_id="app")
    modes = (Mode.SOURCE, Mode.TARGET, Mode.DUAL)
    assert [protocol.transactional_id(plain, mode) for mode in modes] == [None, None, "cutover.dual.a"]
    assert [protocol.transactional_id(own, mode) for mode in modes] == ["app", "app", "cutover.dual.app"]


def test_who_has_joined_later_under_a_transactional_id_succeeds_those_before() -> None:
    state = ControlState()
    joined = [join("a", transactional_id="app"), join("a/T", transactional_id="app"), join("b"), join("c", transactional_id="else")]
    for offset, record in enumerate([*joined, join("d", transactional_id="app")]):
        state = state.then(offset, record)
    assert [each.name for each in state.successors(["a", "a/T"])] == ["d"]
    assert [state.successors([each]) for each in ("b", "c", "d", "gone")] == [(), (), (), ()]


def test_an_acknowledgement_of_nothing_changes_nothing() -> None:
    asked: list[list[Record]] = [[], [hold()], [member(), Stop(pair="p", group=G, term=1, budget_ms=1)]]
    for records in asked:
        before = ControlState()
        for offset, record in enumerate([pair(), join(), *records]):
            before = before.then(offset, record)
        after = before.then(9, Ack(instance="a", pair="p", term=protocol.NOTHING_ASKED))
        assert (after.pairs, after.instances) == (before.pairs, before.instances)


def test_a_cut_has_a_vector_on_either_side() -> None:
    cut = Cut(source={0: 1}, target={0: 2, 1: 3})
    assert (cut.on(Side.SOURCE), cut.on(Side.TARGET)) == ({0: 1}, {0: 2, 1: 3})
