"""Strategy dual_write on real Kafka: producers write both topics while groups move; each live test ends in the judge's verdict."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from cutover import goals, requests
from cutover.errors import AuditViolation
from cutover.lifecycle import Stage
from cutover.protocol import Mode, Side
from cutover.rehearsal.traffic import Traffic, TrafficProcess
from cutover.world import World
from tests.conftest import SLOW_MACHINE
from tests.cutting import Cutting
from tests.integration.test_moves import PATIENCE_SECONDS, Acting, live_run, python, there_and_back
from tests.integration.test_producers import RATE, Plain, Writer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
SLOW = pytest.mark.slow


@pytest.mark.parametrize("partitions", [24, pytest.param(9, marks=SLOW)], ids=["nested", "crossed"])
@pytest.mark.parametrize("library", ["sdk", "plain"])
def test_a_group_goes_there_and_back_while_both_topics_are_written(
    library: str, partitions: int, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    switch = "sdk" if library == "sdk" else "manual"
    there_and_back(live_run(bootstrap, tmp_path, ends, python(library=library), switch, partitions, strategy="dual_write"))


@SLOW
def test_there_and_back_twice(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    there_and_back(live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", 24, strategy="dual_write"), times=2)


def test_it_can_stand_still_in_dual_and_go_either_way(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", 24, strategy="dual_write")
    live.begin()
    with live.cutting.world() as opened:
        live.go(opened, Stage.DUAL_WRITING)
        assert opened.world.pair.mode == "DUAL"
        assert not opened.world.keeper.copies
        live.go(opened, Stage.SYNCHRONIZED, back=True)
        assert opened.world.pair.mode == "SOURCE"
        assert opened.world.keeper.copies
        live.go(opened, Stage.COMPLETED)
        assert [opened.world.pair.modes[each] for each in range(5)] == [Mode.SOURCE, Mode.DUAL, Mode.SOURCE, Mode.DUAL, Mode.TARGET]
        live.topic = live.cutting.target
        live.finish(opened)
    found = live.verdict()
    assert (found.lost, found.twice, found.disordered, found.unknown) == (0, 0, 0, 0)


class Both(Plain):
    """A run whose producer writes both topics by its own code, when its owner is asked to have it do so."""

    def written(self, world: World) -> str:
        return "both" if world.pair.mode == "DUAL" else super().written(world)

    def _writer(self, topic: str, rate: float) -> Writer:
        if topic != "both":
            return super()._writer(topic, rate)
        name, folder = f"{self.cutting.source}-teller-{next(self._lives)}", str(self.cutting.folder)
        told = Traffic(self.cutting.bootstrap, self.cutting.source, name, RATE, accounts=200, folder=folder, also=self.cutting.target)
        return Writer(TrafficProcess(told), self.sent)


@pytest.mark.parametrize("switch", ["sdk", pytest.param("manual", marks=SLOW)])
def test_an_application_that_writes_both_by_its_own_code_is_judged_and_its_groups_move(
    switch: str, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    cutting = Cutting.of(bootstrap, tmp_path, strategy="dual_write")
    name, group = f"importer-{cutting.source}", f"g-{cutting.source}"
    told = {
        "name": group,
        "owner": "team-test",
        "switch": switch,
        "hand_off": "at_least_once",
        "max_duplicates": 10_000,
        "missing": "earliest",
    }
    cutting.wanted |= {"producers": [{"name": name, "owner": "team-test", "switch": "own_dual_write"}], "groups": [told]}
    live = Both(cutting, group, python(library="sdk" if switch == "sdk" else "plain"), ends)
    live.begin()
    with cutting.world() as opened:
        live.go(opened, Stage.SOAKING)
        live.go(opened, Stage.SYNCHRONIZED, back=True)
        sent = live.finish(opened)
        announced = live.announced(opened)
    found = live.verdict()
    assert (found.lost, found.disordered, found.unknown) == (0, 0, 0)
    assert (found.twice, found.acknowledged, sent.failed) == (announced, sent.acknowledged, 0)
    assert len(live.sent) == 5  # S, both, T, both, S


def listen(world: World, until: float) -> None:
    while time.monotonic() < until:
        world.keeper.tick()
        time.sleep(0.05)


@pytest.mark.parametrize("topic", ["source", pytest.param("target", marks=SLOW)])
def test_a_record_on_one_topic_only_is_named_within_the_bound_and_the_run_goes_back_to_the_source(
    topic: str, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", 24, strategy="dual_write", budgets={"audit_age": "2s"})
    live.begin()
    with live.cutting.world() as opened:
        live.go(opened, Stage.DUAL_WRITING)
        where = live.cutting.source if topic == "source" else live.cutting.target
        live.cutting.write(1, topic=where, prefix="stray-0 0 ")
        began = time.monotonic()
        with pytest.raises(AuditViolation) as red:
            listen(opened.world, until=began + 60)
        assert time.monotonic() - began < 10 * SLOW_MACHINE
        [sample] = red.value.fields["samples"]
        assert sample[topic]["topic"] == where
        assert sample[topic]["offset"] >= 0
        opened.world.keeper.end_audit()  # the next one finds it again, whatever the run waits for
        goals.go_forward(opened.world, Stage.SOAKING)
        requests.VERBS["pause"](opened.world, {"reason": "somebody looks at it"}, "tester")
        halt = live.cutting.go_on(opened, patience=Acting(live, PATIENCE_SECONDS))
        assert (halt.exit_code, opened.world.history.standing.stage) == (6, Stage.APPROVED)
        assert any("CUT-AUD-002" in words for words in live.cutting.said)
        assert live.cutting.target not in opened.world.cluster.topic_names()
        live.finish(opened)
    found = live.verdict()
    assert (found.lost, found.disordered, found.twice) == (0, 0, 0)


def test_with_a_group_on_the_target_a_red_audit_stops_the_run_where_it_is(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    """No position on the target says which record was missing there, so that going back by itself could lose it."""
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", 24, strategy="dual_write", budgets={"audit_age": "2s"})
    live.begin()
    with live.cutting.world() as opened:
        live.go(opened, Stage.MOVING_GROUPS)
        live.cutting.write(1, prefix="stray-0 0 ")
        with pytest.raises(AuditViolation):
            live.go(opened, Stage.SOAKING)
        assert opened.world.pair.mode is Mode.DUAL
        assert opened.world.pair.group(live.group).side is Side.TARGET
        assert not opened.world.history.standing.goal.back
    live.traffic.kill()
