"""A first plan for a topic, as commented YAML, from what a survey saw. It loads as it is; what only people know is marked in it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cutover.partitioners import Fit
from cutover.plan.lint import UNNAMED
from cutover.plan.survey import SAMPLE_OFFSETS, SeenGroup, SeenProducer, Survey, suggested_partitions
from cutover.plan.units import is_one_line

PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
NOT_TEXT: Final = frozenset({"true", "false", "null"})
NOTHING_MEASURED: Final = "murmur2"
SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator said of the plan to be written; what is None is suggested."""

    cluster: Mapping[str, str]
    target: str | None = None
    partitions: int | None = None


def draft(seen: Survey, wanted: Wanted) -> str:
    """The plan as YAML text."""
    partitions = wanted.partitions or suggested_partitions(seen.partitions)
    target = wanted.target or f"{seen.topic[:246]}.v2"
    name = f"{seen.topic[:100]}-{seen.partitions}-to-{partitions}"
    lines = [
        f"# A first plan, written from what the cluster shows. Look for {UNNAMED} and for each comment before you use it;",
        "# docs/plan.md explains every field, `cutover plan show --resolved` prints every default.",
        f"cutover: {scalar(name)}",
        f"cluster: {{{', '.join(f'{key}: {scalar(value)}' for key, value in wanted.cluster.items())}}}",
        f"source: {{topic: {scalar(seen.topic)}}}",
        *_target(seen, target, partitions, suggested=wanted.partitions is None),
        *_partitioner(seen.keys),
        "",
        *_producers(seen.producers),
        "",
        *_groups(seen.groups),
    ]
    return "\n".join(lines) + "\n"


def scalar(text: str) -> str:
    """A printable text as a YAML scalar that reads back as the same text (YAML knows no pairs of surrogates, as JSON escapes have)."""
    return text if PLAIN.fullmatch(text) and text not in NOT_TEXT else json.dumps(text, ensure_ascii=False)


def _target(seen: Survey, target: str, partitions: int, *, suggested: bool) -> Iterator[str]:
    today, times = seen.partitions, partitions / seen.partitions
    if suggested:
        yield f"# {_counted(today, 'partition')} today; {partitions} is {times:g} times as many, so every translated position is exact."
    elif partitions < today:
        yield "allow_shrink: true  # fewer partitions than today: order per key holds, parallelism does not"
    elif partitions % today:
        yield f"# {today} does not divide {partitions}: positions are exact at a cut only; elsewhere a group may read some records again."
    yield f"# It gets {_counted(seen.replication, 'replica')} and the source's explicit configs (see `replication` and `config`)."
    yield f"target: {{topic: {scalar(target)}, partitions: {partitions}}}"


def _partitioner(keys: Fit) -> Iterator[str]:
    yield f"# Measured on {keys.records:,} records, the newest of each partition (its last {SAMPLE_OFFSETS:,} offsets at most),"
    yield f"# {keys.null_keys:,} of them without a key, {keys.distinct_keys:,} different keys: {keys.explain()}."
    if not keys.families:
        yield "# NOT MEASURED: ask which client writes the topic (docs/partitioners.md), and correct the next line."
        yield f"partitioner: {NOTHING_MEASURED}"
        return
    name = keys.families[0]
    share = next(score.share for score in keys.ranking if score.family == name)
    yield f"partitioner: {name}  # {_percent(share)} of the keys sit where it puts them"
    if keys.verdict != "fits":
        yield "# Keys that sit elsewhere have no order promise: preflight counts them over the whole topic."


def _percent(share: float) -> str:
    return "100 %" if share == 1 else f"{min(share * 100, 99.9):.1f} %"


def _producers(seen: tuple[SeenProducer, ...] | None) -> Iterator[str]:
    yield "# Producers: a broker knows no names of those who write. Idempotent producers leave an id and the time of their last"
    yield "# write; others leave nothing and cannot be seen. Name every application that writes: one that is not named is a straggler."
    if seen is None:
        yield "# This principal may not ask for producers (it needs Read on the topic)."
    yield from (f"#   seen: {_writing(each)}" for each in (seen or ())[:SHOWN])
    if len(seen or ()) > SHOWN:
        yield f"#   and {len(seen or ()) - SHOWN} more"
    yield "#   - {name: order-service, owner: team-orders, switch: sdk, instances: 3}   # sdk | manual | {hook: {...}}"
    yield "producers: []"


def _writing(producer: SeenProducer) -> str:
    name = f", transactional id {json.dumps(producer.transactional_id)}" if producer.transactional_id else ""
    known = producer.last_write_ms >= 0
    when = datetime.fromtimestamp(producer.last_write_ms / 1000, UTC).isoformat(timespec="seconds") if known else "not known"
    return f"producer id {producer.producer_id}{name}, on {_counted(producer.partitions, 'partition')}, last write {when}"


def _groups(seen: tuple[SeenGroup, ...]) -> Iterator[str]:
    yield "# Groups that read the topic or have a position on it. Readers without a group cannot be seen."
    listed = [each for each in seen if each.movable and _can_be_named(each)]
    for each in seen:
        if not each.movable:
            yield f"#   {json.dumps(each.name)} is a {each.type} group: what it reads cannot be seen from outside, nor can it be moved"
        elif not _can_be_named(each):
            yield f"#   {json.dumps(each.name)} reads the topic and cannot be named in a plan: give it a name of one line without ${{"
    yield "groups:" if listed else "groups: []"
    for each in listed:
        yield from _group(each)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _can_be_named(group: SeenGroup) -> bool:
    return is_one_line(group.name) and "${" not in group.name


def _group(seen: SeenGroup) -> Iterator[str]:
    yield f"  # {_reading(seen)}"
    if seen.streams:
        yield "  # looks like Kafka Streams: its inputs cannot change their partitions under a live application id"
    if seen.name.startswith("connect-"):
        yield "  # looks like a Connect sink: its offsets can be changed while the connector is STOPPED"
    yield f"  - name: {scalar(seen.name)}"
    yield f"    owner: {UNNAMED}"
    yield "    switch: manual  # sdk | primed | manual | {hook: {...}}"
    yield "    hand_off: at_least_once"
    yield "    max_duplicates: 0  # how many records it may read again; the number is measured before it is started"


def _reading(group: SeenGroup) -> str:
    clients = ", ".join(map(json.dumps, group.client_ids[:SHOWN])) + (", ..." if len(group.client_ids) > SHOWN else "")
    members = f"{_counted(group.members, 'member')} ({clients})" if group.members else "no member now"
    lag = "lag not known" if group.lag_offsets is None else f"{_counted(group.lag_offsets, 'offset')} behind"
    return f"{group.type} group, {members}, positions on {_counted(group.positions, 'partition')}, {lag}"
