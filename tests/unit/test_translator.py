"""The epochs that a translation is asked about are the control log's: without a gap, each bounded by the cuts beside it."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cutover.engine.control import Control, Epoch
from cutover.engine.translator import PairTranslator
from cutover.protocol import ControlState, Cut, Hold, Message, Mode, Pair, Release, Side, Topic
from cutover.world import World

SOURCE, TARGET = (Topic(name=name, id=f"id-{name}", partitions=count) for name, count in (("orders", 1), ("orders.v2", 2)))
FIRST, SECOND = Cut(source={0: 10}, target={0: 5, 1: 6}), Cut(source={0: 30}, target={0: 25, 1: 26})


class Hand:
    """Keeps what it was asked, and has no answer."""

    def __init__(self) -> None:
        self.epochs: Sequence[Epoch] = ()
        self.direction = ""

    def translate(self, epochs: Sequence[Epoch], direction: str, _: Mapping[int, int], **__: object) -> Any:  # noqa: ANN401
        self.epochs, self.direction = epochs, direction
        raise LookupError


def asked(flips: Sequence[tuple[Mode, Cut]], side: Side = Side.SOURCE, strategy: str = "mirror") -> Hand:
    """What the hand is asked after these flips."""
    log: list[Message] = [Pair(pair="p", run="r", source=SOURCE, target=TARGET, partitioner="murmur2")]
    for number, (mode, cut) in enumerate(flips, 1):
        log.append(Hold(pair="p", term=number, epoch=number, to=mode, budget_ms=1))
        log.append(Release(type=mode.value, pair="p", term=number, epoch=number, cut=cut))
    state = ControlState()
    for offset, message in enumerate(log):
        state = state.then(offset, cast("Any", message))
    hand = Hand()
    plan, keeper = SimpleNamespace(strategy=strategy, changes_partitioner=False), SimpleNamespace(copies=True)
    world = SimpleNamespace(pair=state.pairs["p"], mirror_name="run", run_id="00" * 8, plan=plan, keeper=keeper)
    with pytest.raises(LookupError):
        PairTranslator(cast("World", world), cast("Control", hand)).translate(side, {0: 0})
    return hand


def test_before_a_flip_there_is_one_epoch_and_no_bound() -> None:
    (only,) = asked([]).epochs
    assert (only.epoch, only.group, only.origin.name, only.follower.name) == (0, "cutover.run.0", "orders", "orders.v2")
    assert (only.start, only.follower_start, only.end, only.follower_end) == (None, None, None, None)


def test_after_two_flips_each_epoch_begins_where_the_one_before_it_ended_on_both_topics() -> None:
    zero, one, two = asked([(Mode.TARGET, FIRST), (Mode.SOURCE, SECOND)]).epochs
    assert [each.origin.name for each in (zero, one, two)] == ["orders", "orders.v2", "orders"]
    assert (zero.start, zero.end, zero.follower_end) == (None, FIRST.source, FIRST.target)
    assert (one.start, one.follower_start) == (FIRST.target, FIRST.source)
    assert (one.end, one.follower_end) == (SECOND.target, SECOND.source)
    assert (two.start, two.follower_start, two.end, two.follower_end) == (SECOND.source, SECOND.target, None, None)


@pytest.mark.parametrize(("side", "direction"), [(Side.SOURCE, "source_to_target"), (Side.TARGET, "target_to_source")])
@pytest.mark.parametrize("flips", [[], [(Mode.TARGET, FIRST)]])
def test_the_direction_is_that_of_the_topics_whoever_is_primary(side: Side, direction: str, flips: Sequence[tuple[Mode, Cut]]) -> None:
    assert asked(flips, side).direction == direction


def test_what_was_written_to_both_topics_has_no_provenance_and_the_epochs_begin_behind_it() -> None:
    (only,) = asked([(Mode.DUAL, FIRST), (Mode.TARGET, SECOND)]).epochs
    assert (only.epoch, only.origin.name, only.from_source) == (2, "orders.v2", False)
    assert (only.start, only.follower_start) == (SECOND.target, SECOND.source)


def test_a_drain_has_nothing_from_before_its_flip() -> None:
    (only,) = asked([(Mode.TARGET, FIRST)], strategy="drain").epochs
    assert (only.epoch, only.origin.name, only.start, only.follower_start) == (1, "orders.v2", FIRST.target, FIRST.source)
