"""completed: the point of no return. Nobody needs S any more; the mirror ends, T gets its configs of every day, S is sealed.

Removing S is a change of its own, later, and not made here.
"""

from cutover import stragglers
from cutover.errors import AclsUnavailable, MoveUnclear
from cutover.governance import approvals, windows
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.model import Acl, ConfigChange, Permission, TopicPartition
from cutover.pinning import changes
from cutover.prices import Price
from cutover.protocol import Close, Mode, Side
from cutover.world import World

GATE = "complete"


def check(world: World) -> None:
    """Refuse while anybody needs S, or while the gate has not its approvals."""
    windows.require_open(world, "completing the run")
    approvals.require(world, GATE)
    stragglers.deal(world)
    needed = readers(world)
    if needed:
        raise MoveUnclear(
            f"{world.source.name} is still needed by {', '.join(sorted(needed))}",
            why="; ".join(f"{name}: {why}" for name, why in sorted(needed.items())),
            advice="Move those of the plan (cutover move); owners of others end them and delete their positions; then: cutover resume RUN.",
            groups=needed,
        )


def done(world: World) -> Seen:
    """Closed in the log, and the mirror has ended."""
    return Seen(done=not world.paired and world.keeper.ended and world.fact("release_target") is not None)


def apply(world: World) -> Body:
    """End the mirror, release the configs, seal S, close the pair, in this order."""
    if world.fact("end_mirror") is None or not world.keeper.ended:
        with world.act("end_mirror") as evidence:
            evidence["fenced"] = world.keeper.end("the run is complete")
        return evidence
    if world.fact("release_target") is None:
        return _release(world)
    if world.fact("seal_source") is None:
        return _seal(world)
    with world.act("close_pair") as evidence:
        evidence["offset"] = world.log.say(Close(pair=world.run_id))
        evidence["readers"] = [each.name for each in world.log.state.instances.values() if each.joined.topic == world.source.name]
    return evidence


def undone(world: World) -> Seen:
    """There is no undoing; the machine has no move back from here."""
    return Seen(done=False, waits_for="nothing: completed has no way back")


def undo(world: World) -> Body:
    """Never called: the machine has no such move."""
    return {}


def price(world: World) -> Price:
    """There is none."""
    return Price(words=("there is no way back from completed but a new cutover from the target to the source",))


def readers(world: World) -> dict[str, str]:
    """Groups, planned or not, that the log has on S, that have a member there or an unexpired position; waived ones left out."""
    waived = {*world.plan.waived_groups}
    planned = {group.name for group in world.plan.groups}
    topic = world.source
    found = {each.name: "the run has it there" for each in world.plan.groups if world.pair.group(each.name).side is Side.SOURCE}
    names = [name for name in world.cluster.groups() if name not in waived and not name.startswith("cutover.")]
    if not names:
        return found
    for name, each in world.cluster.describe_groups(names).items():
        if any(member.holds(topic.name) or topic.name in (member.subscribed or ()) for member in each.members or ()):
            found[name] = "a member reads it"
    where = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    for name, positions in world.cluster.committed([each for each in names if each not in planned], where).items():
        if any(positions.values()):
            found.setdefault(name, "it has positions there")
    return found


def _release(world: World) -> Body:
    pinned = world.fact("pin_source") or {}
    target = world.topic(Side.TARGET)
    due = changes(pinned["target"], pinned["final"])
    with world.act("release_target", changes={name: each.wanted for name, each in due.items()}) as evidence:
        evidence["changed"] = sorted(world.cluster.alter_configs(target.name, target.id, due))
        back = {name: ConfigChange(pinned["wanted"][name], value) for name, value in pinned["before"].items()}
        evidence["restored"] = sorted(world.cluster.alter_configs(world.source.name, world.source.id, back))
    return evidence


def _seal(world: World) -> Body:
    """Deny Write on S to each named principal of the plan; without any, or without an authorizer, S is quiet by care alone."""
    principals = sorted({each.principal for each in world.plan.producers if each.principal})
    with world.act("seal_source", principals=principals) as evidence:
        rules = [Acl(each, "write", "topic", world.source.name, Permission.DENY) for each in principals]
        try:
            if rules:
                world.cluster.create_acls(rules)
            evidence["sealed"] = principals
        except AclsUnavailable as error:
            evidence.update(sealed=[], open=str(error))
            world.tell(f"{world.source.name} is not sealed: {error.what}; nothing but its owners' care keeps producers off it")
        evidence["mode"] = Mode.TARGET.value
    return evidence
