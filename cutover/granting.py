"""Access rules of T: those that name S itself, said of T as well, so that whoever may use the one may use the other. Pure.

Rules by prefix and by wildcard are left as they are: whether they are meant for T only people know.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from cutover.model import Acl, Permission


def copied(acls: Collection[Acl], source: str, target: str) -> frozenset[Acl]:
    """The rules that T lacks."""
    named = (each for each in acls if (each.resource_type, each.pattern, each.resource) == ("topic", "literal", source))
    return frozenset(replace(each, resource=target) for each in named) - frozenset(acls)


def document(acls: Iterable[Acl]) -> list[dict[str, Any]]:
    """Rules as JSON values, in an order."""
    return sorted((asdict(each) for each in acls), key=lambda each: tuple(each.values()))


def of_document(told: Iterable[Mapping[str, Any]]) -> frozenset[Acl]:
    """The rules again."""
    return frozenset(Acl(**{**each, "permission": Permission(each["permission"])}) for each in told)
