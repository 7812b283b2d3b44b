"""Approvals: recorded names with reasons, each bound to one plan, cluster and source topic, counted against the plan's gates.

The policy today is `none` (no approvals asked for) or a number of different recorded names.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cutover.errors import ApprovalMissing
from cutover.history import Body
from cutover.world import World


def binding(world: World) -> dict[str, Any]:
    """What an approval of this run is for."""
    return bound_to(world.plan_digest, world.cluster_id, {each.source.name: each.source.id for each in world.pairs})


def bound_to(plan_digest: str, cluster_id: str, sources: Mapping[str, str]) -> dict[str, Any]:
    """What an approval is for; anything else in force later voids it. `sources` are the topics' ids by their names, in the plan's order."""
    first, *others = [{"name": name, "id": topic_id} for name, topic_id in sources.items()]
    return {"plan_digest": plan_digest, "cluster_id": cluster_id, "source": first, **({"sources": others} if others else {})}


def digest(bound: Mapping[str, Any]) -> str:
    """A short name of what is approved."""
    return hashlib.sha256(json.dumps(bound, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def missing(world: World, gate: str) -> str:
    """What the gate still lacks, in words; empty when it may be passed."""
    needed = int(getattr(world.plan.approvals.gates, gate))
    if not needed:
        return ""
    names = approvers(world.history.approvals, gate, digest(binding(world)), but=world.operator if world.plan.approvals.four_eyes else None)
    if len(names) >= needed:
        return ""
    return f"{len(names)} of {needed} ({', '.join(sorted(names)) or 'nobody'})"


def require(world: World, gate: str) -> None:
    """Raise ApprovalMissing while the gate lacks anything."""
    lacks = missing(world, gate)
    if lacks:
        raise ApprovalMissing(
            f"the gate {gate} has not the approvals that the plan asks for: {lacks}",
            why="Each is bound to exactly this plan, cluster and source topic.",
            gate=gate,
            bound_to=binding(world),
        )


def approvers(approvals: Iterable[Body], gate: str, bound: str, *, but: str | None) -> frozenset[str]:
    """Different names that approved exactly this; the one who drives counts for nothing where four eyes are asked for."""
    return frozenset(
        str(each["name"]) for each in approvals if each.get("gate") == gate and each.get("bound") == bound and each.get("name") != but
    )
