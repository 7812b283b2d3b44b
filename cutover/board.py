"""How a run stands, as one document and one line: what `status`, `watch` and the screens of `run` show. Pure over a World."""

from collections.abc import Mapping
from typing import Any

from cutover import moves
from cutover.lifecycle import Seen, earlier
from cutover.protocol import Mode, Role
from cutover.world import World

SCHEMA_VERSION = 1
Document = Mapping[str, Any]


def document(world: World, seen: Seen | None) -> dict[str, Any]:
    """The run as JSON values; `ready` answers for the stage it stands in, whatever the percentages say."""
    standing = world.history.standing
    still = {group.name for group, _ in moves.standing_still(world)}
    waits = seen.waits_for if seen else ""
    because = [] if seen is None or seen.done else [waits or "there is more to do"]
    return {
        "schema_version": SCHEMA_VERSION,
        "run": world.plan.cutover,
        "plan_digest": world.plan_digest,
        "stage": standing.stage.value,
        "goal": {"to": standing.goal.to.value, "back": standing.goal.back},
        "paused": standing.paused,
        "waits_for": waits,
        "on_person": bool(seen and seen.on_person),
        "ready": not because,
        "not_ready_because": because,
        "can_go_back_to": [each.value for each in earlier(standing.order, standing.stage, one_way=world.one_way)],
        "traffic": traffic(world),
        "pair": _pair(world),
        "groups": [_group(world, each, stands_still=each.name in still) for each in world.whole.groups],
        "producers": _producers(world),
        "copy": dict(_furthest_behind(world).keeper.document()),
        "priming": {name: told for each in world.pairs for name, told in each.primers.document().items()},
        **({"pairs": [_pair_among(each) for each in world.pairs]} if len(world.pairs) > 1 else {}),
    }


def _furthest_behind(world: World) -> World:
    """The pair whose copy lags most; one that cannot tell yet lags more than any."""

    def lag(each: World) -> float:
        seconds = each.keeper.lag_seconds()
        return float("inf") if seconds is None else seconds

    return max(world.pairs, key=lag) if len(world.pairs) > 1 else world


def _pair_among(world: World) -> dict[str, Any]:
    """One of several pairs."""
    topics = {"source": world.plan.source.topic, "target": world.plan.target.topic}
    return {**topics, "pair": _pair(world), "copy": dict(world.keeper.document()), "traffic": _traffic(world)}


def traffic(world: World) -> str:
    """What the state means for producers and consumers, in one sentence for each pair."""
    return "; ".join(_traffic(each) for each in world.pairs)


def _traffic(world: World) -> str:
    source, target = world.plan.source.topic, world.plan.target.topic
    if not world.paired:
        return f"producers and consumers use {source}; {target} is not in use"
    state = world.pair
    if state.hold is not None:
        return f"producers are held for at most {state.hold.budget_ms / 1000:g} s (term {state.hold.term})"
    if state.mode is Mode.DUAL:
        return f"producers write both {source} and {target}, each record in one transaction; going back is open"
    if state.mode is Mode.SOURCE and not world.keeper.copies:
        return f"producers write {source}; {target} is empty until the writes are switched"
    if state.mode is Mode.SOURCE:
        return f"producers write {source}; the mirror keeps {target} equal"
    if not world.keeper.copies:
        return f"producers write {target}; {source} gets nothing more, and there is no going back"
    return f"producers write {target}; the mirror keeps {source} equal, so that going back is open"


def _pair(world: World) -> dict[str, Any] | None:
    if not world.paired:
        return None
    state = world.pair
    return {
        "id": state.pair,
        "mode": state.mode.value,
        "epoch": state.epoch,
        "term": state.term,
        "held": state.hold.term if state.hold else None,
        "source": state.told.source.model_dump(),
        "target": state.told.target.model_dump(),
    }


def _group(world: World, group: Any, *, stands_still: bool) -> dict[str, Any]:  # noqa: ANN401
    here = world.having(group)
    side = here[0].pair.group(group.name).side.value if here[0].paired else "SOURCE"
    counts = [(each.fact(f"moved:{group.name}") or {}).get("duplicates") for each in here]
    return {
        "name": group.name,
        "owner": group.owner,
        "switch": group.switch_kind,
        "side": side,
        "stands_still": stands_still,
        "read_again": None if None in counts else sum(counts),
    }


def _producers(world: World) -> dict[str, Any]:
    wanted = sum(each.instances for pair in world.pairs for each in pair.plan.producers if each.switch_kind == "sdk")
    joined = [found for each in world.pairs if each.paired for found in world.log.state.members(each.run_id, Role.PRODUCER)]
    return {"expected": wanted, "joined": sorted(each.name for each in joined)}


def line(told: Document) -> str:
    """The document in one line, complete by itself."""
    parts = [str(told["stage"]).replace("_", " ") + (" (going back)" if told["goal"]["back"] else "")]
    if told["paused"]:
        parts.append(f"paused: {told['paused']}")
    elif told["waits_for"]:
        parts.append(f"waits for {told['waits_for']}")
    parts += copied(told["copy"])
    moved = sum(each["side"] == "TARGET" for each in told["groups"])
    if told["pair"]:
        parts.append(f"groups {moved}/{len(told['groups'])} on the target")
        parts.append("writes on both" if told["pair"]["mode"] == "DUAL" else f"writes on the {str(told['pair']['mode']).lower()}")
    parts.append("ready: yes" if told["ready"] else f"ready: no, because {told['not_ready_because'][0]}")
    return " · ".join(parts)


def copied(copy: Document) -> list[str]:
    """How far the copy of a pair is, in words."""
    if not copy:
        return []
    done, total = copy.get("done"), copy.get("total")
    said = [f"copied {done:,}/{total:,} ({done / total:.0%})" if total else f"copied {done:,}"] if done is not None else []
    if copy.get("records_per_second") is not None:
        said.append(f"{copy['records_per_second']:,.0f}/s")
    if copy.get("lag_seconds") is not None:
        said.append(f"lag {copy['lag_seconds']:.1f} s")
    if copy.get("audit_age_seconds") is not None:
        said.append(f"proved {copy['audit_age_seconds']:.1f} s ago")
    if copy.get("eta_seconds") is not None:
        said.append(f"about {copy['eta_seconds']:.0f} s left ({copy.get('eta_basis', '')})")
    return said
