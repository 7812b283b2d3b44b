"""The canonical form of a plan, its digest, and what differs between two of them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cutover.plan.model import Plan


def resolved(plan: Plan) -> dict[str, Any]:
    """The plan with every default, as JSON values. Written to a file it is the same plan again."""
    return plan.model_dump(mode="json", by_alias=True, exclude={"source", "target"} if plan.pairs else None)


def written(plan: Plan) -> dict[str, Any]:
    """Only what was said, as JSON values."""
    return plan.model_dump(mode="json", by_alias=True, exclude_unset=True)


def canonical(values: Any) -> bytes:  # noqa: ANN401 - JSON values
    """JSON with sorted keys, without blanks, in UTF-8."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(plan: Plan) -> str:
    """SHA-256 (hex) of the canonical form of the resolved plan: the same plan in other words has the same digest."""
    return hashlib.sha256(canonical(resolved(plan))).hexdigest()


@dataclass(frozen=True, slots=True)
class Change:
    """A field that differs; None where it is not there."""

    path: str
    old: Any
    new: Any


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What differs between two resolved plans, in the order of the fields; producers and groups are compared by name."""
    return list(_differences("", old, new))


def _differences(path: str, old: Any, new: Any) -> Iterator[Change]:  # noqa: ANN401 - JSON values
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _differences(f"{path}.{name}" if path else name, old.get(name), new.get(name))
    elif _are_named(old) and _are_named(new):
        yield from _named_differences(path, old, new)
    elif old != new:
        yield Change(path, old, new)


def _named_differences(path: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    before, after = ({each["name"]: each for each in entries} for entries in (old, new))
    for name in dict.fromkeys([*before, *after]):
        yield from _differences(f"{path}[{name}]", before.get(name), after.get(name))
    kept_before, kept_after = [name for name in before if name in after], [name for name in after if name in before]
    if kept_before != kept_after:
        yield Change(f"{path} (order)", kept_before, kept_after)


def _are_named(values: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and all(isinstance(each, Mapping) and "name" in each for each in values)
    )
