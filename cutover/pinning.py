"""Which configs of both topics are held while a pair exists, and what they are to be afterwards. Pure.

A record that retention or compaction takes away while it is still needed cannot be proved, and on the way back it is lost:
so both topics keep everything from before the first copy until the end, and each takes what the other may hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cutover.model import ConfigChange, ConfigValue

PROVENANCE_ROOM_BYTES = 1024
"""What is added to the greatest batch of either topic: provenance of each record, and room for another batching."""

FOR_EVER = str(2**63 - 1)
INHERIT = "inherit"
Configs = Mapping[str, ConfigValue]


@dataclass(frozen=True, slots=True)
class Pinning:
    """`source` is changed now and changed back later; `target` is what T is created with, `final` what it has at the end."""

    source: Mapping[str, ConfigChange]
    target: Mapping[str, str]
    final: Mapping[str, str]


def changes(now: Mapping[str, str], then: Mapping[str, str]) -> dict[str, ConfigChange]:
    """What is to be set, and unset, to get from one set of explicit configs to another."""
    names = sorted(now.keys() | then.keys())
    return {name: ConfigChange(now.get(name), then.get(name)) for name in names if now.get(name) != then.get(name)}


def pinning(
    source: Configs, partitions: int, wanted: Mapping[str, str], target_partitions: int, *, may_change_source: bool = True
) -> Pinning:
    """The pins for a source with these configs, and a target with these partitions and these configs of the plan.

    `inherit` takes the source's value; retention.bytes is per partition and is scaled. Without `may_change_source` (the plan's
    way_back is limited) the source stays as it is.
    """
    explicit = {name: each.value for name, each in source.items() if each.explicit and each.value is not None}
    asked = {name: _wanted(name, value, source, partitions, target_partitions) for name, value in wanted.items()}
    final = explicit | {name: value for name, value in asked.items() if value is not None}
    pins = _pins(source)
    changes = {name: ConfigChange(explicit.get(name), value) for name, value in pins.items() if explicit.get(name) != value}
    target = {**final, **pins, "message.timestamp.type": "CreateTime"}
    return Pinning(changes if may_change_source else {}, target, final)


def _wanted(name: str, value: str, source: Configs, partitions: int, target_partitions: int) -> str | None:
    if value != INHERIT:
        return value
    found = source[name].value if name in source else None
    if found is not None and name == "retention.bytes" and int(found) > 0:
        return str(-(-int(found) * partitions // target_partitions))
    return found


def _pins(source: Configs) -> dict[str, str]:
    pins = {
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(_number(source, "max.message.bytes") + PROVENANCE_ROOM_BYTES),
    }
    policy = source["cleanup.policy"].value if "cleanup.policy" in source else ""
    if "compact" in (policy or ""):
        pins |= {"min.compaction.lag.ms": FOR_EVER, "delete.retention.ms": FOR_EVER}
    return pins


def _number(configs: Configs, name: str) -> int:
    found = configs.get(name)
    return int(found.value) if found is not None and found.value is not None else 1_048_588
