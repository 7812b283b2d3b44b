"""Progress is measured against frozen ends, goes forward only, and 100 % is not the same as ready."""

from cutover.engine.events import LaneStatus, Progress
from cutover.engine.pair import Standing
from cutover.engine.status import Board, WorkerStatus

STANDING = Standing(begins={0: 10, 1: 0}, ends={0: 110, 1: 50}, resumed=False)


def worker(state: str = "running") -> WorkerStatus:
    return WorkerStatus("w1", state, 1, (0,), 0, 0, 0, "")


def progress(*, lag_seconds: float = 0, lane: str = "copying", records: int = 0) -> Progress:
    return Progress(event="progress", at_ms=0, lag_seconds=lag_seconds, records=records, lanes=(LaneStatus(lane=0, state=lane),))


def board(committed: dict[int, int] | None = None, ends: dict[int, int] | None = None) -> Board:
    made = Board(STANDING)
    made.learn(committed or {}, ends or {})
    return made


def test_nothing_is_done_at_the_start() -> None:
    status = board().sum_up(0, [])
    assert (status.done_offsets, status.total_offsets, status.share, status.eta_seconds) == (0, 150, 0, None)


def test_what_comes_later_never_makes_it_more_than_all() -> None:
    status = board({0: 500, 1: 500}, {0: 600, 1: 500}).sum_up(0, [(worker(), progress())])
    assert (status.done_offsets, status.share, status.stage, status.lag_records) == (150, 1, "following", 100)


def test_a_lag_that_nobody_has_told_yet_is_no_lag_of_zero_seconds() -> None:
    assert board().sum_up(0, []).lag_seconds is None
    assert board({0: 110, 1: 50}).sum_up(0, []).lag_seconds == 0
    late = board({0: 110, 1: 50}, {0: 120}).sum_up(0, [(worker(), None)])
    assert late.not_ready_because == ("no worker here has told how far behind it is",)


def test_an_end_that_moves_does_not_move_the_goal() -> None:
    status = board({0: 60}, {0: 1_000_000}).sum_up(0, [])
    assert (status.done_offsets, status.total_offsets) == (50, 150)
    assert status.lag_records == 1_000_000 - 60 + 50


def test_positions_do_not_go_back_when_a_worker_is_replaced() -> None:
    made = board({0: 60})
    made.learn({0: 20}, {})
    assert made.sum_up(0, []).done_offsets == 50


def test_it_has_caught_up_when_every_partition_is_committed_to_its_frozen_end() -> None:
    assert not board({0: 110, 1: 49}).caught_up()
    assert board({0: 110, 1: 50}).caught_up()


def test_a_partition_that_was_empty_needs_no_commit() -> None:
    assert Board(Standing(begins={0: 7}, ends={0: 7}, resumed=False)).caught_up()


def test_the_eta_rests_on_the_last_half_minute() -> None:
    made = board()
    made.sum_up(0, [])
    made.learn({0: 60}, {})
    status = made.sum_up(10, [])
    assert (status.eta_seconds, status.eta_basis) == (20, "mean of the last 10 s")


def test_it_is_ready_when_history_is_copied_and_it_keeps_up() -> None:
    status = board({0: 110, 1: 50}).sum_up(0, [(worker(), progress(lag_seconds=0.2))])
    assert status.ready


def test_all_copied_and_yet_not_ready_says_why() -> None:
    done = board({0: 110, 1: 50})
    assert done.sum_up(0, [(worker(), progress(lag_seconds=3))]).not_ready_because == ("it is 3.0 s behind",)
    assert done.sum_up(0, [(worker("down"), None)]).not_ready_because == ("worker w1 is down",)
    assert done.sum_up(0, [(worker(), progress(lane="recovering"))]).not_ready_because == ("lane 0 is recovering",)
    assert done.sum_up(0, [(worker(), progress())], "no broker answers").not_ready_because == ("no broker answers",)


def test_history_that_is_left_comes_first() -> None:
    assert board({0: 60}).sum_up(0, [(worker(), progress())]).not_ready_because == ("100 of 150 offsets of the history are left",)


def test_records_of_the_dead_still_count() -> None:
    made = board()
    made.records_before = 40
    assert made.sum_up(0, [(worker(), progress(records=2))]).records == 42
