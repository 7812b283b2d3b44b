"""A finding of the preflight: what was found, how bad it is, what it means, what to do. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Red stops the run, amber needs to be acknowledged by its id in the plan, note is for information."""

    RED = "red"
    AMBER = "amber"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; the id is that of its rule."""

    id: str
    severity: Severity
    what: str
    why: str
    next: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "severity": self.severity.value}


def standing_in_the_way(findings: Iterable[Finding], acknowledged: Iterable[str]) -> tuple[Finding, ...]:
    """The red findings, and the amber ones that nobody has acknowledged."""
    known = frozenset(acknowledged)
    return tuple(each for each in findings if each.severity is Severity.RED or (each.severity is Severity.AMBER and each.id not in known))
