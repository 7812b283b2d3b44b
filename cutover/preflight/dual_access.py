"""Producers that write both topics may do so: in transactions under the client library's ids, on either topic."""

from collections.abc import Iterable, Iterator

from cutover import granting
from cutover.model import Acl, Permission
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey
from cutover.protocol import DUAL_ID

ID = "CUT-PRE-046"
IMPLY_DESCRIBE = frozenset({"read", "write", "delete", "alter"})


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for a principal that may write the source and lacks the rest; amber where no rule lets it do even that."""
    if plan.strategy != "dual_write" or seen.acls is None:
        return
    for each in plan.producers:
        acls = seen.acls | granting.copied(seen.acls, plan.source.topic, plan.target.topic)  # the target gets the rules of the source
        lacks = _lacking(acls, each.principal, plan) if each.principal is not None and each.switch_kind == "sdk" else []
        facts = {"producer": each.name, "principal": each.principal, "lacks": lacks}
        if lacks and f"write on topic {plan.source.topic}" not in lacks:
            yield Finding(
                ID,
                Severity.RED,
                f"{each.principal} may not {', '.join(lacks)}",
                "In mode DUAL each record is written to both topics in one transaction; without these the switch into it is undone.",
                f"Grant Write and Describe on TransactionalId {DUAL_ID} (prefixed), and Write on both topics.",
                facts,
            )
        elif lacks:
            yield Finding(
                ID,
                Severity.AMBER,
                f"no rule lets {each.principal} {', '.join(lacks)}",
                "A super user needs none, and which principals are that cannot be seen.",
                f"Grant them, or acknowledge {ID} if it is a super user.",
                facts,
            )


def _lacking(acls: Iterable[Acl], principal: str, plan: Plan) -> list[str]:
    own = [each for each in acls if each.principal in {principal, "User:*"}]
    needed = [("write", "topic", plan.source.topic), ("write", "topic", plan.target.topic)]
    lacks = [f"{operation} on {kind} {name}" for operation, kind, name in needed if not _granted(own, operation, kind, name)]
    ids = [operation for operation in ("write", "describe") if not _granted(own, operation, "transactional_id", DUAL_ID, prefix=True)]
    return lacks + [f"{operation} on transactional_id {DUAL_ID}*" for operation in ids]


def _granted(acls: Iterable[Acl], operation: str, kind: str, name: str, *, prefix: bool = False) -> bool:
    """Whether a rule allows it and none denies it; with `prefix`, on every name that begins so."""
    about = [each for each in acls if each.resource_type == kind]
    denied = any(
        each.permission is Permission.DENY and each.operation in {operation, "all"} and _meets(each, name, prefix=prefix) for each in about
    )
    words = {operation, "all"} | (IMPLY_DESCRIBE if operation == "describe" else set())
    return not denied and any(
        each.permission is Permission.ALLOW and each.operation in words and _covers(each, name, prefix=prefix) for each in about
    )


def _covers(acl: Acl, name: str, *, prefix: bool) -> bool:
    if acl.pattern == "prefixed":
        return name.startswith(acl.resource)
    return acl.resource == "*" or (not prefix and acl.resource == name)


def _meets(acl: Acl, name: str, *, prefix: bool) -> bool:
    """Whether it is about some name that begins so."""
    return _covers(acl, name, prefix=prefix) or (prefix and acl.resource.startswith(name))
