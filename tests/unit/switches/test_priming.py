"""Priming over the twin of a cluster: what is decided in every situation, and what a group finds when it starts over there."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import pytest

from cutover.errors import NotMovable, ProducerFenced, TranslationsDiffer, Unreachable
from cutover.marks import Mark
from cutover.model import PENDING, Committed, GroupState, GroupType, TopicPartition
from cutover.priming import Action, Observation, Primer, Route, Standing, Wishes, decide_prime
from cutover.protocol import Side
from cutover.twin import Twin, TwinMember
from cutover.twin.groups import Group
from cutover.world import Translated

RUN = "0123456789abcdef"
HERE = tuple(TopicPartition("s", p) for p in range(2))
THERE = tuple(TopicPartition("t", q) for q in range(4))

ALL = [Observation(*bits) for bits in itertools.product([False, True], repeat=len(fields(Observation)))]


# Every situation.


def situations(action: Action) -> list[Observation]:
    return [seen for seen in ALL if decide_prime(seen) is action]


def test_positions_are_seeded_exactly_when_nobody_is_there_and_all_is_known() -> None:
    assert situations(Action.SEED) == [each for each in ALL if not each.seeded and not each.there and each.due and each.known]


def test_positions_are_primed_exactly_while_nobody_is_there_and_somebody_is_here() -> None:
    wanted = [each for each in ALL if each.seeded and each.here and not each.there and each.known]
    assert situations(Action.PRIME) == [each for each in wanted if (each.due and each.moved) or each.stale]


def test_the_last_positions_are_written_exactly_when_nobody_is_left_here() -> None:
    gone = [each for each in ALL if each.seeded and not each.here and not each.final and each.due and each.known]
    assert situations(Action.CONCLUDE) == [each for each in gone if each.gated or not each.there]


def test_the_gate_is_opened_exactly_on_final_positions_with_members_there_and_none_here() -> None:
    final = [each for each in ALL if each.seeded and each.gated and each.final]
    assert situations(Action.RELEASE) == [each for each in final if each.there and not each.here]


def test_nothing_is_written_any_more_once_members_are_there_and_nobody_holds_them_back() -> None:
    assert situations(Action.END) == [each for each in ALL if each.there and not (each.seeded and each.gated)]


def test_a_position_is_never_moved_under_a_member_that_may_be_reading() -> None:
    reading = [each for each in ALL if each.there and not each.gated]
    assert {decide_prime(each) for each in reading} == {Action.END}


# Over a cluster in memory. The pair is nested: partition q of t holds what partition q % 2 of s holds, offset for offset.


class TwinHand:
    """A hand over the twin, with what may go wrong planted by tests."""

    def __init__(self, twin: Twin, name: str, seconds: float) -> None:
        self.twin, self.seconds = twin, seconds
        self.producer = twin.producer(name)
        self.before_end: Callable[[], None] = lambda: None
        self.after_prepare: Callable[[], None] = lambda: None

    def prepare_positions(self, group: str, positions: Mapping[TopicPartition, Committed], /) -> float:
        self.producer.begin()
        self.producer.send_offsets(group, positions)
        planted, self.after_prepare = self.after_prepare, lambda: None
        planted()
        return self.seconds

    def finish_positions(self, topic: str, /, *, commit: bool, read_back: bool = True) -> object:  # noqa: ARG002
        self.before_end()
        self.producer.commit() if commit else self.producer.abort()
        return None

    def close(self) -> None:
        """Nothing to end."""


@dataclass
class Bench:
    """A group on s that is to move to t, and its primer."""

    twin: Twin = field(default_factory=lambda: Twin(seed=1))
    now: float = 100.0
    mirror_at: int = 1_000_000
    duplicates: int = 0
    hands: dict[str, TwinHand] = field(default_factory=dict)
    released: list[dict[str, Any]] = field(default_factory=list)
    verified: int = 0
    primer: Primer = field(init=False)

    def __post_init__(self) -> None:
        self.twin.create_topic("s", 2, replication_factor=1)
        self.twin.create_topic("t", 4, replication_factor=1)
        self.primer = self.start()

    def start(self, wishes: Wishes = Wishes(gated=True)) -> Primer:  # noqa: B008 - frozen
        self.primer = Primer(
            Route("g", RUN, 0, HERE, THERE),
            self.twin,
            translate=self.translate,
            verify=self.verify,
            open_hand=self.open_hand,
            release_act=self.release_act,
            left_open=self.left_open,
            pause=lambda _: None,
            wishes=wishes,
        )
        return self.primer

    def open_hand(self, name: str) -> TwinHand:
        made = self.hands[name] = TwinHand(self.twin, f"gate.{name}", 20.0)
        return made

    def left_open(self) -> list[str]:
        return [name.removeprefix("gate.") for name, each in self.twin.coordinator.ids.items() if each.started_at_ms is not None]

    def writer(self) -> TwinHand:
        """The hand that will write the next prime."""
        return next(each for each in self.hands.values() if each.producer.known.started_at_ms is None)

    def translate(self, given: Mapping[int, int]) -> Translated:
        positions = {q: min(given.get(q % 2, 0), self.mirror_at) for q in range(4)}
        final = all(offset <= self.mirror_at for offset in given.values())
        return Translated(Side.SOURCE, given, positions, self.duplicates, 0, final)

    def verify(self, _: Translated) -> None:
        self.verified += 1

    @contextmanager
    def release_act(self, intent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        evidence = dict(intent)
        yield evidence
        self.released.append(evidence)

    def join(self, topic: str) -> TwinMember:
        return self.twin.join("g", [topic], GroupType.CLASSIC)

    def at(self, *offsets: int) -> dict[TopicPartition, Committed]:
        return {where: Committed(offset) for where, offset in zip(HERE, offsets, strict=True)}

    def tick(self, times: int = 1) -> Action:
        for _ in range(times):
            self.now += 0.2
            action = self.primer.tick(self.now)
        return action

    def told(self) -> list[object]:
        """What members that ask for stable positions are told of t."""
        found = self.twin.committed(["g"], THERE)["g"]
        return [each.offset if isinstance(each, Committed) else each for each in found.values()]

    def decided(self) -> list[int | None]:
        return [each.offset if each else None for each in self.twin.decided("g", THERE).values()]

    def marked_final(self) -> list[bool]:
        marks = [Mark.of(each.metadata) for each in self.twin.decided("g", THERE).values() if each]
        return [mark is not None and mark.final for mark in marks]

    def standing(self) -> Standing:
        return self.primer.standing


@pytest.fixture
def bench() -> Bench:
    return Bench()


def reading(bench: Bench, *offsets: int) -> TwinMember:
    member = bench.join("s")
    member.commit(bench.at(*offsets))
    return member


def test_every_partition_has_a_position_before_it_is_ready(bench: Bench) -> None:
    reading(bench, 5, 7)
    assert bench.standing() is Standing.UNSEEDED
    assert bench.tick() is Action.SEED
    assert bench.standing() is Standing.READY
    assert bench.decided() == [5, 7, 5, 7]


def test_a_mirror_that_is_behind_means_older_positions_never_none(bench: Bench) -> None:
    bench.mirror_at = 3
    reading(bench, 5, 7)
    bench.tick()
    assert (bench.primer.standing, bench.decided()) == (Standing.READY, [3, 3, 3, 3])


def test_while_it_is_ready_members_that_ask_for_stable_positions_wait(bench: Bench) -> None:
    reading(bench, 5, 7)
    bench.tick()
    assert bench.told() == [PENDING] * 4


def test_the_gate_is_handed_on_without_a_gap(bench: Bench) -> None:
    reading(bench, 5, 7)
    bench.tick()
    gaps: list[bool] = []
    for hand in bench.hands.values():
        hand.before_end = lambda: gaps.append(PENDING not in bench.told())
    for _ in range(5):
        bench.tick(60)  # 12 s: past half of a transaction's time
    assert len(gaps) >= 5
    assert not any(gaps)
    assert bench.told() == [PENDING] * 4


def test_without_a_gate_nobody_waits(bench: Bench) -> None:
    bench.start(Wishes())
    reading(bench, 5, 7)
    bench.tick()
    assert bench.told() == [5, 7, 5, 7]


def test_primes_follow_what_the_group_commits_at_most_once_an_interval(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    member.commit(bench.at(6, 8))
    assert bench.primer.tick(bench.now + 0.05) is Action.WAIT
    assert bench.tick() is Action.PRIME
    assert bench.decided() == [6, 8, 6, 8]
    assert bench.tick() is Action.WAIT
    assert bench.primer.commits == 2


def test_the_interval_can_be_changed_while_it_runs(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    bench.primer.wishes = Wishes(gated=True, interval_seconds=5.0)
    member.commit(bench.at(6, 8))
    assert bench.tick() is Action.WAIT
    assert bench.tick(25) is Action.WAIT
    assert bench.decided() == [6, 8, 6, 8]


def test_a_prime_that_grows_old_is_written_anew_so_that_it_does_not_expire(bench: Bench) -> None:
    reading(bench, 5, 7)
    bench.tick()
    before = bench.twin.decided("g", THERE)
    bench.now += 61
    assert bench.tick() is Action.PRIME
    after = bench.twin.decided("g", THERE)
    assert bench.decided() == [5, 7, 5, 7]
    assert before != after


def test_a_pending_position_here_is_not_known_and_nothing_is_written_for_it(bench: Bench) -> None:
    reading(bench, 5, 7)
    producer = bench.twin.producer("app")
    producer.begin()
    producer.send_offsets("g", bench.at(9, 9))
    assert bench.tick() is Action.WAIT
    assert bench.decided() == [None] * 4
    producer.commit()
    bench.tick()
    assert bench.decided() == [9, 9, 9, 9]


@pytest.mark.parametrize("state", [GroupState.PREPARING_REBALANCE, GroupState.COMPLETING_REBALANCE, GroupState.RECONCILING])
def test_nothing_is_left_pending_while_members_join_or_leave(bench: Bench, monkeypatch: pytest.MonkeyPatch, state: GroupState) -> None:
    member = reading(bench, 5, 7)
    bench.start(Wishes())
    bench.tick()
    member.commit(bench.at(6, 8))
    with monkeypatch.context() as patched:
        patched.setattr(Group, "state", state)
        assert bench.tick() is Action.WAIT
        assert bench.told() == [5, 7, 5, 7]
    bench.tick()
    assert bench.told() == [6, 8, 6, 8]


def test_without_a_gate_how_much_is_read_again_is_known_only_if_nobody_was_left_when_it_started(bench: Bench) -> None:
    bench.start(Wishes())
    member = reading(bench, 5, 7)
    bench.tick()
    member.close()
    bench.tick(2)
    assert bench.standing() is Standing.FINAL
    bench.join("t")
    assert bench.tick() is Action.END
    assert (bench.standing(), bench.primer.evidence()["duplicates"]) == (Standing.STARTED, 0)


def test_without_a_gate_members_side_by_side_make_it_unknown(bench: Bench) -> None:
    bench.start(Wishes())
    reading(bench, 5, 7)
    bench.tick()
    bench.join("t")
    bench.tick()
    assert (bench.standing(), bench.primer.evidence()["duplicates"]) == (Standing.STARTED, None)


def test_a_stop_then_start_begins_exactly_at_the_last_commit(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    member.commit(bench.at(10, 12))
    member.close()
    assert bench.tick() is Action.CONCLUDE
    bench.tick()
    assert bench.standing() is Standing.FINAL
    assert bench.marked_final() == [True] * 4
    assert bench.told() == [PENDING] * 4
    bench.join("t")
    assert bench.tick() is Action.RELEASE
    assert bench.told() == [10, 12, 10, 12]
    assert (bench.primer.standing, bench.verified) == (Standing.RELEASED, 1)
    assert bench.released[0]["ours"] == [0, 1, 2, 3]
    assert (bench.released[0]["early"], bench.released[0]["duplicates"]) == ([], 0)


def test_a_rolling_restart_waits_at_the_gate_until_the_last_member_has_left(bench: Bench) -> None:
    members = [reading(bench, 5, 7), bench.join("s")]
    bench.tick()
    for member in members:
        bench.join("t")
        member.commit(bench.at(20, 22))
        assert bench.tick() is Action.WAIT
        assert bench.told() == [PENDING] * 4
        member.close()
    assert [bench.tick(), bench.tick()] == [Action.CONCLUDE, Action.RELEASE]
    assert bench.told() == [20, 22, 20, 22]


def test_the_gate_stays_shut_while_the_mirror_is_behind(bench: Bench) -> None:
    reading(bench, 5, 7).close()
    bench.tick()
    bench.join("t")
    bench.mirror_at = 6
    assert bench.tick(5) is Action.CONCLUDE
    assert "not copied" in bench.primer.trouble
    assert bench.told() == [PENDING] * 4
    bench.mirror_at = 7
    bench.tick(2)
    assert (bench.primer.standing, bench.told()) == (Standing.RELEASED, [5, 7, 5, 7])


def test_nobody_is_let_go_on_a_position_that_two_derivations_do_not_share(bench: Bench) -> None:
    reading(bench, 5, 7).close()
    bench.tick()
    bench.join("t")

    def differ(_: Translated) -> None:
        raise TranslationsDiffer("two derivations differ")

    bench.primer.verify = differ
    bench.tick(5)
    assert (bench.told(), bench.primer.trouble) == ([PENDING] * 4, "two derivations differ")


def test_above_the_plans_maximum_the_gate_stays_shut(bench: Bench) -> None:
    bench.start(Wishes(gated=True, most=3))
    bench.duplicates = 4
    reading(bench, 5, 7).close()
    bench.tick()
    bench.join("t")
    bench.tick(3)
    assert (bench.told(), bench.primer.trouble) == ([PENDING] * 4, "it would read 4 records again, its plan allows 3")


def test_a_late_commit_between_the_final_write_and_its_end_makes_it_void(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    member.close()
    bench.join("t")
    bench.writer().after_prepare = lambda: bench.twin.group("g").write(bench.at(8, 8), bench.twin.next_place())
    bench.tick()
    assert bench.primer.trouble == "a late commit arrived"
    bench.tick(2)
    assert bench.told() == [8, 8, 8, 8]


def test_a_member_that_comes_back_before_anybody_started_makes_the_positions_not_final_again(bench: Bench) -> None:
    reading(bench, 5, 7).close()
    bench.tick(3)
    assert bench.standing() is Standing.FINAL
    bench.join("s")
    assert bench.tick() is Action.PRIME
    assert bench.standing() is Standing.READY
    assert bench.marked_final() == [False] * 4


def test_a_member_that_comes_between_write_and_commit_is_not_moved(bench: Bench) -> None:
    bench.start(Wishes())
    member = reading(bench, 5, 7)
    bench.tick()
    member.commit(bench.at(50, 50))
    newcomer: list[TwinMember] = []

    def start_and_commit() -> None:
        newcomer.append(bench.join("t"))
        newcomer[0].commit({THERE[0]: Committed(6)})

    bench.hands["a"].after_prepare = start_and_commit
    bench.tick()
    assert bench.decided() == [6, 7, 5, 7]
    assert "meanwhile" in bench.primer.trouble
    assert bench.tick() is Action.END
    assert bench.standing() is Standing.STARTED


def test_a_commit_that_is_later_than_our_write_wins_even_if_nobody_saw_it(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    member.close()
    ignoring = bench.join("t")
    bench.writer().before_end = lambda: ignoring.commit({THERE[0]: Committed(6)})
    bench.tick()
    assert bench.decided()[0] == 6


def test_members_that_do_not_wait_at_the_gate_are_named_and_their_positions_left_alone(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    ignoring = bench.join("t")
    ignoring.commit({THERE[1]: Committed(9)})
    bench.tick()
    assert list(bench.primer.early) == [1]
    assert bench.primer.early[1].members == ("twin at /127.0.0.1",)
    member.commit(bench.at(30, 30))
    member.close()
    bench.tick(2)
    assert (bench.primer.standing, bench.told()) == (Standing.RELEASED, [30, 9, 30, 30])
    assert bench.released[0]["early"] == [{"partition": 1, "offset": 9, "members": ["twin at /127.0.0.1"]}]


def test_members_that_moved_every_position_before_it_was_given_free_are_all_named(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    bench.join("t").commit({where: Committed(9) for where in THERE})
    bench.tick()
    assert sorted(bench.primer.early) == [0, 1, 2, 3]
    member.commit(bench.at(30, 30))
    member.close()
    bench.tick(3)
    assert bench.decided() == [9, 9, 9, 9]


def test_positions_that_somebody_removed_are_written_anew(bench: Bench) -> None:
    bench.start(Wishes())
    reading(bench, 5, 7)
    bench.tick()
    bench.twin.group("g").positions = {w: each for w, each in bench.twin.group("g").positions.items() if w.topic == "s" or w.partition}
    bench.tick(2)
    assert (bench.standing(), bench.decided()) == (Standing.READY, [5, 7, 5, 7])


def test_members_that_were_there_before_any_position_are_early_and_nothing_is_written(bench: Bench) -> None:
    reading(bench, 5, 7)
    bench.join("t")
    assert bench.tick() is Action.END
    assert (bench.primer.standing, bench.decided()) == (Standing.EARLY, [None] * 4)


def test_positions_of_an_earlier_stay_are_no_obstacle(bench: Bench) -> None:
    bench.twin.alter_offsets("g", {where: Committed(99, "a member's, of the last stay") for where in THERE})
    reading(bench, 5, 7)
    bench.tick()
    assert bench.decided() == [5, 7, 5, 7]


def test_a_second_driver_takes_the_gate_over_and_goes_on_where_the_first_was(bench: Bench) -> None:
    member = reading(bench, 5, 7)
    bench.tick()
    first = bench.primer
    second = bench.start()
    member.commit(bench.at(8, 9))
    bench.tick(2)
    assert (second.standing, bench.told(), bench.decided()) == (Standing.READY, [PENDING] * 4, [8, 9, 8, 9])
    member.commit(bench.at(10, 10))
    with pytest.raises(ProducerFenced):
        first.tick(bench.now + 1)


def test_a_second_driver_holds_the_gate_for_members_that_wait_already(bench: Bench) -> None:
    reading(bench, 5, 7)
    bench.tick()
    bench.join("t")
    bench.start()
    bench.tick()
    assert (bench.primer.standing, bench.told()) == (Standing.READY, [PENDING] * 4)


@pytest.mark.parametrize("error", [Unreachable("no broker answers"), NotMovable("it lies before the mirror's start")])
def test_trouble_is_kept_in_words_and_tried_again(bench: Bench, error: Exception) -> None:
    reading(bench, 5, 7)
    translate = bench.primer.translate

    def fail(_: Mapping[int, int]) -> Translated:
        raise error

    bench.primer.translate = fail
    bench.tick()
    assert (bench.primer.standing, bench.primer.trouble) == (Standing.UNSEEDED, str(error))
    bench.primer.translate = translate
    bench.tick()
    assert (bench.primer.standing, bench.primer.trouble) == (Standing.READY, "")


def test_closing_opens_the_gate_and_leaving_does_not(bench: Bench) -> None:
    reading(bench, 5, 7)
    bench.tick()
    bench.primer.leave()
    assert bench.told() == [PENDING] * 4
    bench.start()
    bench.tick(2)
    bench.primer.close()
    assert bench.told() == [5, 7, 5, 7]
