"""provisioned: both topics pinned, T created with the access rules of S and empty while groups are watched, the pair told in the log.

Undone, the pair is closed in the log, the T of this run (by its topic id) is deleted with its rules and S has its configs of before.
"""

import time

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cutover import granting
from cutover.errors import AclsUnavailable, NotAuthorized, PatternCaught, TopicExists, TopicTaken, UnknownTopic
from cutover.governance import windows
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.model import ConfigChange, TopicDescription
from cutover.pinning import Pinning, pinning
from cutover.prices import Price
from cutover.protocol import Close, Pair, Topic
from cutover.world import World

CREATED = "create_target"
PINNED = "pin_source"
GRANTED = "grant_target"
REVOKED = "revoke_target"
CONTROL = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "CreateTime"}
WATCHED = "watch_groups"
_HEARD = Retrying(retry=retry_if_exception_type(UnknownTopic), stop=stop_after_delay(10), wait=wait_fixed(0.1), reraise=True)
"""For a topic that another run has just created: the broker that is asked may not have heard of it yet."""


def check(world: World) -> None:
    """Refuse a target that is there and is not of this run, and a moment at which nothing may begin."""
    windows.require_open(world, "creating the target")
    found = _target(world)
    if found is not None and not _is_ours(world, found):
        raise TopicTaken(f"{world.plan.target.topic} is there already", why="This run did not create it.", topic=world.plan.target.topic)


def done(world: World) -> Seen:
    """Described back and equal, told in the log, and watched for long enough."""
    found = _target(world)
    ready = found is not None and _is_ours(world, found) and world.fact(PINNED) is not None and world.fact(GRANTED) is not None
    if not ready or not world.paired:
        return Seen(done=False)
    if world.fact(WATCHED) is None:
        return Seen(done=False, waits_for=_watching(world)) if _left(world) > 0 else Seen(done=False)
    return Seen(done=True)


def apply(world: World) -> Body:
    """The next of: the control topic, pin S, create T, give it the rules of S, tell the pair, end the watch."""
    if not world.has_control:
        return create_control(world)
    if world.fact(PINNED) is None:
        return _pin(world)
    found = _target(world)
    if found is None:
        return _create(world)
    if world.fact(GRANTED) is None:
        return _grant(world)
    if not world.paired:
        return _tell(world, found)
    with world.act(WATCHED) as evidence:
        _require_no_reader(world)
        evidence["topic"] = found.name
    return evidence


def undone(world: World) -> Seen:
    """T of this run is gone, S is as it was, the pair is closed."""
    found = _target(world)
    ours = found is not None and _is_ours(world, found)
    return Seen(done=not ours and not world.paired and not _granted(world) and _is_restored(world))


def undo(world: World) -> Body:
    """Close the pair, delete T if it is this run's, restore S."""
    evidence: dict[str, object] = {}
    if world.paired:
        world.log.say(Close(pair=world.run_id))
        evidence["closed"] = world.run_id
    found = _target(world)
    if found is not None and _is_ours(world, found):
        with world.act("delete_target", topic=found.name, topic_id=found.topic_id) as deleted:
            world.cluster.delete_topic(found.name, found.topic_id)
            deleted["topic_id"] = found.topic_id
        evidence["deleted"] = found.name
    if _granted(world):
        evidence["revoked"] = _revoke(world)
    if not _is_restored(world):
        evidence["restored"] = _restore(world)
    return evidence


def price(world: World) -> Price:
    """What undoing costs: the copy, where there is one."""
    mirrored = "everything mirrored to it; it can be copied again" if world.keeper.copies else "nothing on it but what was written there"
    return Price(words=(f"{world.plan.target.topic} is deleted with {mirrored}",))


def plan_pins(world: World) -> Pinning:
    """The pins as the plan and the source's configs ask for them."""
    plan = world.plan
    configs = world.cluster.topic_configs([plan.source.topic])[plan.source.topic]
    may_change = plan.way_back == "full"
    return pinning(configs, world.source.partitions, plan.target.config, plan.target.partitions, may_change_source=may_change)


def create_control(world: World) -> Body:
    """Make the control topic, with the replicas of the source, where it is not there yet."""
    replicas = len(world.cluster.describe_topics([world.source.name])[world.source.name].partitions[0].replicas)
    with world.act("create_control", topic=world.log.topic) as evidence:
        try:
            made = world.cluster.create_topic(world.log.topic, 1, replication_factor=replicas, configs=CONTROL)
            evidence["topic_id"] = made.topic_id
        except TopicExists:
            evidence["topic_id"] = _HEARD(world.cluster.describe_topics, [world.log.topic])[world.log.topic].topic_id
    world.has_control = True
    world.log.catch_up()
    return evidence


def _pin(world: World) -> Body:
    pins = plan_pins(world)
    before = {name: change.expected for name, change in pins.source.items()}
    wanted = {name: change.wanted for name, change in pins.source.items()}
    with world.act(PINNED, before=before, wanted=wanted, target=dict(pins.target), final=dict(pins.final)) as evidence:
        changed = world.cluster.alter_configs(world.source.name, world.source.id, pins.source)
        evidence.update(before=before, wanted=wanted, changed=sorted(changed), target=dict(pins.target), final=dict(pins.final))
    return evidence


def _create(world: World) -> Body:
    plan, pinned = world.plan, world.fact(PINNED) or {}
    replicas = plan.target.replication or len(world.cluster.describe_topics([world.source.name])[world.source.name].partitions[0].replicas)
    with world.act(CREATED, topic=plan.target.topic, partitions=plan.target.partitions) as evidence:
        made = world.cluster.create_topic(plan.target.topic, plan.target.partitions, replication_factor=replicas, configs=pinned["target"])
        evidence.update(topic=made.name, topic_id=made.topic_id, partitions=len(made.partitions), at_ms=round(time.time() * 1000))
    return evidence


def _grant(world: World) -> Body:
    """Where the rules may not be read or written T has none of S's, which is said: clients would be refused on it."""
    source, target = world.source.name, world.plan.target.topic
    begun = granting.of_document((world.history.unsettled.get(GRANTED) or {}).get("rules", ()))
    try:
        rules = begun | granting.copied(world.cluster.acls(), source, target)
    except (AclsUnavailable, NotAuthorized) as error:
        return _not_granted(world, error)
    with world.act(GRANTED, rules=granting.document(rules)) as evidence:
        world.cluster.create_acls(rules)
        evidence["rules"] = granting.document(rules)
    if rules:
        world.tell(f"{len(rules)} access rules of {source} hold for {target} as well")
    return evidence


def _not_granted(world: World, error: AclsUnavailable | NotAuthorized) -> Body:
    with world.act(GRANTED, rules=[]) as evidence:
        evidence.update(rules=[], open=error.what)
    if isinstance(error, NotAuthorized):
        world.tell(
            f"the access rules of {world.source.name} cannot be read ({error.what}): give {world.plan.target.topic} the same by hand"
        )
    return evidence


def _granted(world: World) -> bool:
    return bool((world.fact(GRANTED) or world.history.unsettled.get(GRANTED) or {}).get("rules")) and world.fact(REVOKED) is None


def _revoke(world: World) -> list[dict[str, object]]:
    rules = (world.fact(GRANTED) or world.history.unsettled[GRANTED])["rules"]
    with world.act(REVOKED, rules=rules) as evidence:
        world.cluster.delete_acls(granting.of_document(rules))
        evidence["rules"] = rules
    return list(rules)


def _tell(world: World, found: TopicDescription) -> Body:
    plan = world.plan
    target = Topic(name=found.name, id=found.topic_id, partitions=len(found.partitions))
    with world.act("tell_pair", target=target.model_dump()) as evidence:
        said = Pair(
            pair=world.run_id,
            run=plan.cutover,
            source=world.source,
            target=target,
            partitioner=plan.partitioner,
            target_partitioner=plan.target_partitioner if plan.changes_partitioner else None,
            null_keys=plan.null_keys,
        )
        evidence["offset"] = world.log.say(said)
    return evidence


def _left(world: World) -> float:
    created = world.fact(CREATED) or {}
    return float(created.get("at_ms", 0)) / 1000 + world.plan.budgets.quarantine - time.time()


def _watching(world: World) -> str:
    _require_no_reader(world)
    return f"{world.plan.target.topic} stays empty for {max(0.0, _left(world)):.0f} s more while every group is watched for patterns"


def _require_no_reader(world: World) -> None:
    """A group that takes T now subscribes by a pattern; it would read everything again."""
    target = world.plan.target.topic
    names = [name for name in world.cluster.groups() if not name.startswith(f"cutover.{world.plan.cutover}.")]
    described = world.cluster.describe_groups(names) if names else {}
    caught = sorted(name for name, each in described.items() if any(member.holds(target) for member in each.members or ()))
    if caught:
        found = _target(world)
        if found is not None and _is_ours(world, found):
            with world.act("delete_target", topic=found.name, topic_id=found.topic_id, caught=caught):
                world.cluster.delete_topic(found.name, found.topic_id)
        raise PatternCaught(
            f"{', '.join(caught)} took {target} as soon as it was there",
            why="It subscribes by a pattern that matches the new name, and would read everything twice.",
            groups=caught,
        )


def _target(world: World) -> TopicDescription | None:
    try:
        return world.cluster.describe_topics([world.plan.target.topic])[world.plan.target.topic]
    except UnknownTopic:
        return None


def _is_ours(world: World, found: TopicDescription) -> bool:
    """By topic id; where a creation's outcome was never written, by what it looks like: ours alone would be empty and pinned so."""
    created = world.fact(CREATED)
    if created is not None and created.get("topic_id") == found.topic_id:
        return True
    asked = world.history.unsettled.get(CREATED)
    if asked is None or len(found.partitions) != asked.get("partitions"):
        return False
    configs = world.cluster.topic_configs([found.name])[found.name]
    pinned = (world.fact(PINNED) or {}).get("target", {})
    same = all(name in configs and configs[name].value == value for name, value in pinned.items())
    if same:
        world.record(
            "outcome", CREATED, {"topic": found.name, "topic_id": found.topic_id, "at_ms": round(time.time() * 1000), "settled": True}
        )
    return same


def _is_restored(world: World) -> bool:
    pinned = world.fact(PINNED) or world.history.unsettled.get(PINNED)
    if not pinned:
        return True
    configs = world.cluster.topic_configs([world.source.name])[world.source.name]
    now = {name: each.value for name, each in configs.items() if each.explicit}
    return all(now.get(name) == value for name, value in pinned["before"].items())


def _restore(world: World) -> list[str]:
    pinned = world.fact(PINNED) or world.history.unsettled[PINNED]
    changes = {name: ConfigChange(pinned["wanted"][name], value) for name, value in pinned["before"].items()}
    with world.act("restore_source", configs=pinned["before"]) as evidence:
        evidence["changed"] = sorted(world.cluster.alter_configs(world.source.name, world.source.id, changes))
    return list(evidence["changed"])
