"""Pairs that are switched together: all the way and back from every stage, and all or none whatever goes wrong; real Kafka."""

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from cutover.errors import AttemptsSpent, GroupNotMoved, PreflightRed, UnknownTopic
from cutover.lifecycle import SEQUENCE, Order, Stage
from cutover.preflight.shared_transactions import ID as SHARED
from cutover.protocol import Mode, Role, Side
from cutover.rehearsal import judge
from tests.cutting import Cutting, CuttingTogether
from tests.integration.test_drain import records
from tests.integration.test_flip import Plain, undone
from tests.joining import Reader, Town
from tests.judge import compare_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
SLOW = pytest.mark.slow
Counts = Sequence[tuple[int, int]]
RECORDS = 2000
STAGES = SEQUENCE[Order.GROUPS_FIRST][1:-1]


def written(cutting: CuttingTogether, records: int = RECORDS, prefix: str = "") -> None:
    for source, _, _ in cutting.pairs:
        cutting.write(records, topic=source, prefix=prefix)


@pytest.mark.parametrize("order", [Order.GROUPS_FIRST, pytest.param(Order.WRITES_FIRST, marks=SLOW)])
def test_two_topics_that_nobody_uses_go_all_the_way(order: Order, bootstrap: str, tmp_path: Path) -> None:
    cutting = CuttingTogether.of_pairs(bootstrap, tmp_path, order=order.value)
    written(cutting)
    with cutting.world() as opened:
        assert cutting.drive(opened, Stage.SOAKING).exit_code == 0
        states = [each.pair for each in opened.world.pairs]
        assert [(each.mode, each.epoch) for each in states] == [(Mode.TARGET, 1)] * 2
        assert len({each.term for each in states}) == 1
        assert cutting.drive(opened).why == "completed is done"
        assert all(each.pair.closed for each in opened.world.pairs)
    for source, target, _ in cutting.pairs:
        assert compare_topics(bootstrap, source, target, RECORDS) == []


def test_two_topics_are_drained_together_and_come_back(bootstrap: str, tmp_path: Path) -> None:
    cutting = CuttingTogether.of_pairs(bootstrap, tmp_path, strategy="drain")
    written(cutting)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.SWITCHING_WRITES)
        assert {(each.pair.mode, each.pair.epoch) for each in opened.world.pairs} == {(Mode.TARGET, 1)}
        for each in opened.world.pairs:
            assert (sum(each.pair.cuts[1].source.values()), sum(each.pair.cuts[1].target.values())) == (RECORDS, 0)
        for _, target, _ in cutting.pairs:
            cutting.write(100, topic=target, prefix="after-")
        cutting.drive(opened, Stage.SOAKING)
        assert cutting.back(opened).exit_code == 6
        for source, target, _ in cutting.pairs:
            assert len(records(opened.world, source)) == RECORDS + 100
            assert target not in opened.world.cluster.topic_names()


def test_two_topics_are_written_both_ways_together_and_come_back(bootstrap: str, tmp_path: Path) -> None:
    cutting = CuttingTogether.of_pairs(bootstrap, tmp_path, strategy="dual_write")
    written(cutting)
    with cutting.world() as opened:
        cutting.drive(opened, Stage.DUAL_WRITING)
        assert {(each.pair.mode, each.pair.epoch) for each in opened.world.pairs} == {(Mode.DUAL, 1)}
        cutting.drive(opened, Stage.SOAKING)
        states = [each.pair for each in opened.world.pairs]
        assert {(each.mode, each.epoch) for each in states} == {(Mode.TARGET, 2)}
        assert len({each.term for each in states}) == 1
        cutting.back(opened, Stage.SYNCHRONIZED)
        assert {(each.pair.mode, each.pair.epoch) for each in opened.world.pairs} == {(Mode.SOURCE, 4)}
        for source, target, _ in cutting.pairs:
            assert compare_topics(bootstrap, source, target, RECORDS) == []
        assert cutting.back(opened).exit_code == 6


@SLOW
@pytest.mark.parametrize(
    ("strategy", "stage"),
    [
        *(("mirror", each) for each in STAGES),
        *(("drain", each) for each in SEQUENCE[Order.WRITES_FIRST][1:-1]),
        *(("dual_write", each) for each in SEQUENCE[Order.BOTH_FIRST][1:-1]),
    ],
)
def test_from_every_stage_there_is_a_way_back_for_both(strategy: str, stage: Stage, bootstrap: str, tmp_path: Path) -> None:
    cutting = CuttingTogether.of_pairs(bootstrap, tmp_path, strategy=strategy)
    written(cutting)
    names = [source for source, _, _ in cutting.pairs]
    with cutting.world() as opened:
        cluster = opened.world.cluster
        before = cluster.topic_configs(names)
        assert cutting.drive(opened, stage).exit_code == 0
        halt = cutting.back(opened)
        assert (halt.exit_code, halt.why) == (6, "rolled back to planned")
        assert not any(each.paired for each in opened.world.pairs)
        assert cluster.topic_configs(names) == before
        for _, target, _ in cutting.pairs:
            with pytest.raises(UnknownTopic):
                cluster.describe_topics([target])


NESTED, CROSSED = ((6, 24), (4, 12)), ((6, 9), (4, 10))


def town(
    bootstrap: str,
    folder: Path,
    ends: ExitStack,
    joins: str = "manual",
    counts: Counts = NESTED,
    **wanted: Any,  # noqa: ANN401
) -> Town:
    """A group on the library for the first pair, one by hook for the second, one that reads both."""
    cutting = CuttingTogether.of_pairs(bootstrap, folder, counts, **wanted)
    name = cutting.source[-6:]
    readers = [Reader(f"ledger-{name}", "sdk", (0,)), Reader(f"mails-{name}", "hook", (1,)), Reader(f"join-{name}", joins, (0, 1))]
    made = Town(cutting, ends, readers)
    cutting.wanted["producers"] = made.instances()
    return made


def assert_judged(found: dict[tuple[str, int], tuple[judge.Verdict, int]]) -> None:
    assert len(found) == 4
    for verdict, announced in found.values():
        assert (verdict.lost, verdict.disordered, verdict.unknown) == (0, 0, 0)
        assert verdict.twice == announced
        assert verdict.acknowledged > 100


@pytest.mark.parametrize(
    ("joins", "counts", "transactional", "strategy"),
    [
        pytest.param("manual", NESTED, True, "mirror", id="join by hand", marks=SLOW),
        pytest.param("hook", NESTED, False, "mirror", id="join by hook", marks=SLOW),
        pytest.param("sdk", NESTED, True, "mirror", id="join on the library", marks=SLOW),
        pytest.param("sdk", CROSSED, True, "mirror", id="join on the library, crossed", marks=SLOW),
        pytest.param("sdk", CROSSED, True, "drain", id="drained, join on the library, crossed", marks=SLOW),
        pytest.param("manual", NESTED, True, "drain", id="drained, join by hand", marks=SLOW),
        pytest.param("sdk", CROSSED, True, "dual_write", id="both written, join on the library, crossed", marks=SLOW),
        pytest.param("hook", NESTED, False, "dual_write", id="both written, join by hook", marks=SLOW),
        pytest.param("manual", NESTED, True, "dual_write", id="both written, join by hand", marks=SLOW),
    ],
)
def test_under_traffic_both_go_there_and_back_with_whoever_reads_one_or_both(
    joins: str, counts: Counts, transactional: bool, strategy: str, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    live = town(bootstrap, tmp_path, ends, joins, counts, strategy=strategy)
    live.begin(transactional=transactional)
    with live.cutting.world() as opened:
        live.cutting.drive(opened, Stage.SOAKING, patience=live)
        assert {each.pair.mode for each in opened.world.pairs} == {Mode.TARGET}
        live.cutting.back(opened, Stage.SYNCHRONIZED, patience=live)
        assert {(each.pair.mode, each.pair.epoch) for each in opened.world.pairs} == {(Mode.SOURCE, 4 if strategy == "dual_write" else 2)}
        live.finish(opened)
        found = live.verdicts(opened)
        assert_judged(found)
        if joins == "sdk":
            assert all(verdict.twice == 0 for (name, _), (verdict, _) in found.items() if name.startswith(("join", "ledger")))


@SLOW
def test_a_member_of_the_join_that_is_frozen_leaves_it_where_it_was_in_both(
    bootstrap: str, tmp_path: Path, ends: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.moves.sdk.STOP_SECONDS", 2.0)
    live = town(bootstrap, tmp_path, ends, "sdk")
    live.cutting.wanted["groups"].reverse()  # before it is away for so long that its group goes on without it
    live.begin()
    with live.cutting.world() as opened:
        live.cutting.drive(opened, Stage.SYNCHRONIZED, patience=live)
        live.joined(opened)
        join = live.readers[-1]
        while not all(opened.world.log.state.members(each.run_id, Role.CONSUMER, join.name) for each in opened.world.pairs):
            opened.world.log.refresh(0.1)
        pid = join.members[0].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(GroupNotMoved, match="did not stop"):
                live.cutting.drive(opened, Stage.MOVING_GROUPS, patience=live)
        finally:
            os.kill(pid, signal.SIGCONT)
        states = [each.pair.group(join.name) for each in opened.world.pairs]
        assert [(each.side, each.stop) for each in states] == [(Side.SOURCE, None)] * 2
        assert live.cutting.drive(opened, Stage.MOVING_GROUPS, patience=live).exit_code == 0
        assert {each.pair.group(join.name).side for each in opened.world.pairs} == {Side.TARGET}
        live.finish(opened)
        verdicts = [verdict for verdict, _ in live.verdicts(opened).values()]
        assert {(each.lost, each.disordered, each.unknown) for each in verdicts} == {(0, 0, 0)}


@SLOW
def test_an_instance_of_one_pair_that_is_stopped_leaves_both_where_they_were(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    live = town(bootstrap, tmp_path, ends, budgets={"hold": "1s", "flip_attempts": 1})
    live.begin()
    with live.cutting.world() as opened:
        live.cutting.drive(opened, Stage.MOVING_GROUPS, patience=live)
        live.joined(opened)
        second = live.producers[1]
        os.kill(second.pid, signal.SIGSTOP)
        try:
            with pytest.raises(AttemptsSpent):
                live.cutting.drive(opened, Stage.SWITCHING_WRITES, patience=live)
        finally:
            os.kill(second.pid, signal.SIGCONT)
        assert {(each.pair.mode, each.pair.epoch, each.pair.hold) for each in opened.world.pairs} == {(Mode.SOURCE, 0, None)}
        assert live.cutting.drive(opened, Stage.SOAKING, patience=live).exit_code == 0
        assert {(each.pair.mode, each.pair.epoch) for each in opened.world.pairs} == {(Mode.TARGET, 1)}
        live.finish(opened)
        assert_judged(live.verdicts(opened))


@SLOW
def test_a_stranger_who_writes_one_of_them_undoes_the_switch_of_both(bootstrap: str, tmp_path: Path) -> None:
    cutting = CuttingTogether.of_pairs(bootstrap, tmp_path, budgets={"flip_attempts": 1})
    written(cutting)
    second = cutting.pairs[1][0]
    with cutting.world() as opened:
        cutting.drive(opened, Stage.MOVING_GROUPS)
        with Plain(bootstrap, second, 300), pytest.raises(AttemptsSpent):
            cutting.drive(opened, Stage.SWITCHING_WRITES)
        told = [each for each in undone(opened) if "records" in each["fields"]]
        assert {each["fields"]["topic"] for each in told} == {second}
        assert {(each.pair.mode, each.pair.epoch, each.pair.hold) for each in opened.world.pairs} == {(Mode.SOURCE, 0, None)}
        assert cutting.drive(opened).why == "completed is done"
    assert compare_topics(bootstrap, cutting.source, cutting.target, RECORDS) == []


@SLOW
def test_preflight_is_red_where_a_transactional_producer_is_shared_with_another_run(bootstrap: str, tmp_path: Path) -> None:
    here, there = (Cutting.of(bootstrap, tmp_path / name) for name in ("here", "there"))
    for each in (here, there):
        each.folder.mkdir()
    writer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"tx-{here.source}", "partitioner": "murmur2_random"})
    writer.init_transactions(30)
    writer.begin_transaction()
    for each in (here, there):
        writer.produce(each.source, key=b"k", value=b"v")
    writer.commit_transaction(30)
    with there.world() as opened:
        there.drive(opened, Stage.PROVISIONED)
    with here.world() as opened:
        with pytest.raises(PreflightRed) as red:
            here.drive(opened, Stage.CHECKED)
        assert SHARED in {each["id"] for each in red.value.fields["findings"]}
    with there.world() as opened:
        there.back(opened)
    with here.world() as opened:
        assert here.drive(opened, Stage.CHECKED).exit_code == 0
