"""Records of producers that were on the side they should have left: found by the audit, named, and carried over or refused.

They lie on the follower past the cut, so no mirror copies them. Carried over they keep no order with newer records of their keys,
and a group that still reads the side where they were written reads them twice: both are said, and counted by name.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from cutover import partitioners
from cutover.errors import StragglerFound
from cutover.history import Body
from cutover.model import Record, TopicPartition
from cutover.partitioners import null_key_partition
from cutover.world import Stray, World

DEALT = "stragglers"
NAMED = 20


def undealt(world: World) -> list[Stray]:
    """Those that nobody has dealt with yet, oldest first."""
    known = {tuple(each) for each in (world.fact(DEALT) or {}).get("places", ())}
    found = {(each.topic, each.partition, each.offset): each for each in world.keeper.strays}
    return sorted((each for place, each in found.items() if place not in known), key=lambda each: each.timestamp_ms)


def deal(world: World) -> Body:
    """What the plan says: carry them over, or stop. Raises StragglerFound."""
    strays = undealt(world)
    if not strays:
        return {}
    if world.plan.stragglers == "forward":
        return forward(world, strays)
    first = strays[0]
    raise StragglerFound(
        f"{len(strays)} records were written to {first.topic} after the switch, by {_writers(strays)}",
        why=f"The first is at partition {first.partition}, offset {first.offset}; whoever reads the other topic has not got it.",
        advice="Find and stop the writer; then carry its records over: cutover forward RUN; then: cutover resume RUN.",
        records=[_document(each) for each in strays[:NAMED]],
        count=len(strays),
    )


def forward(world: World, strays: Iterable[Stray]) -> Body:
    """Append them to the primary, each to the partition of its key, and remember that it was done."""
    every = list(strays)
    places = [[each.topic, each.partition, each.offset] for each in every]
    known = [list(each) for each in (world.fact(DEALT) or {}).get("places", ())]
    with world.act(DEALT, places=places) as evidence:
        records = [record for each in every for record in _read(world, each)]
        offsets = {}
        for partition, group in _by_partition(world, records).items():
            to = TopicPartition(world.pair.primary.name, partition)
            offsets[str(partition)] = list(world.hand.append_records(to, group))
        evidence.update(places=known + places, carried=len(records), to=world.pair.primary.name, offsets=offsets)
    world.tell(
        f"{len(every)} records of stragglers were carried over to {world.pair.primary.name}, out of order with newer ones of their keys"
    )
    return evidence


def _read(world: World, stray: Stray) -> list[Record]:
    return list(world.reader.read({TopicPartition(stray.topic, stray.partition): (stray.offset, stray.offset + 1)}))


def _by_partition(world: World, records: Iterable[Record]) -> Mapping[int, list[Record]]:
    """Where each belongs on the primary, in the order in which they were written."""
    plan, primary = world.plan, world.pair.primary
    family = partitioners.family(plan.target_partitioner if primary is world.pair.told.target else plan.partitioner)
    origin = world.pair.told.target if primary is world.pair.told.source else world.pair.told.source
    found: dict[int, list[Record]] = defaultdict(list)
    for each in records:
        if each.key is not None and family.decides(each.key):
            found[family.place(each.key, primary.partitions)].append(each)
        else:
            at = null_key_partition(world.plan.null_keys, each.partition, each.offset, origin.partitions, primary.partitions)
            found[at].append(each)
    return found


def _writers(strays: Iterable[Stray]) -> str:
    ids = sorted({each.producer_id for each in strays})
    named = [f"producer id {each}" for each in ids if each >= 0]
    return ", ".join(named) or "a producer without an id (it is not idempotent)"


def _document(stray: Stray) -> dict[str, object]:
    return {
        "topic": stray.topic,
        "partition": stray.partition,
        "offset": stray.offset,
        "timestamp_ms": stray.timestamp_ms,
        "producer_id": stray.producer_id,
    }
