"""What must hold between the parts of a plan: one rule a function, one table of rules.

A rule is asked only when the parts it needs are sound, so that the errors of a file come out all at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cutover.partitioners import family
from cutover.plan.parts import VERBS, Group, History, PlannedPair, Producer, Source, Switched, Target
from cutover.plan.wrong import Path, Wrong


def one_pair_or_several(pairs: Sequence[PlannedPair], source: Source | None, target: Target | None) -> Iterator[Wrong]:
    """A plan names one pair by source and target, or several under pairs."""
    for name, given in (("source", source), ("target", target)):
        if given is None:
            yield Wrong((name,), "is missing")
        elif pairs and given != getattr(pairs[0], name):
            yield Wrong((name,), "stands beside pairs: name one pair by source and target, or several under pairs")
    if len(pairs) == 1:
        yield Wrong(("pairs",), "has one pair: name it by source and target")


def topics_differ(pairs: Sequence[PlannedPair], source: Source | None, target: Target | None) -> Iterator[Wrong]:
    """Kafka refuses two names that differ only in dots and underscores."""
    seen: dict[str, str] = {}
    for path, topic in _topics(pairs, source, target):
        known = seen.get(topic.replace(".", "_"))
        if known == topic:
            yield Wrong(path, f"is {'there already' if pairs else 'the source'}, {topic}: name another topic")
        elif known is not None:
            yield Wrong(path, f"differs from {known} only in dots and underscores, which Kafka refuses")
        seen[topic.replace(".", "_")] = topic


def _topics(pairs: Sequence[PlannedPair], source: Source | None, target: Target | None) -> Iterator[tuple[Path, str]]:
    """Every topic of the plan, and where it is named."""
    if not pairs and source is not None and target is not None:
        yield from ((("source", "topic"), source.topic), (("target", "topic"), target.topic))
    for number, each in enumerate(pairs):
        yield from (
            (("pairs", number, name, "topic"), topic) for name, topic in (("source", each.source.topic), ("target", each.target.topic))
        )


def pairs_are_named(pairs: Sequence[PlannedPair], producers: Sequence[Producer], groups: Sequence[Group]) -> Iterator[Wrong]:
    """Who names pairs names those of the plan."""
    known = {each.source.topic for each in pairs}
    for kind, entries in (("producers", [each.pairs for each in producers]), ("groups", [each.pairs for each in groups])):
        for number, names in enumerate(entries):
            yield from (
                Wrong((kind, number, "pairs", at), f"is {name}, and the plan has no pair with that source")
                for at, name in enumerate(names)
                if name not in known
            )


def groups_of_several_pairs_are_not_primed(pairs: Sequence[PlannedPair], groups: Sequence[Group]) -> Iterator[Wrong]:
    """A group that reads several pairs is moved in all of them at once."""
    for number, each in enumerate(groups):
        if len(pairs) > 1 and len(each.pairs) != 1 and each.switch_kind == "primed":
            yield Wrong(
                ("groups", number, "switch"),
                f"is {each.switch_kind}, and {each.name} reads several pairs: it is moved by sdk, hook or manual, or names one pair",
            )


def names_are_unique(producers: Sequence[Producer], groups: Sequence[Group]) -> Iterator[Wrong]:
    """`cutover confirm` takes a name, so it means one producer or one group."""
    named: list[tuple[str, int, Switched]] = [("producers", number, each) for number, each in enumerate(producers)]
    named += [("groups", number, each) for number, each in enumerate(groups)]
    seen: Counter[str] = Counter()
    for kind, number, each in named:
        if seen[each.name]:
            yield Wrong((kind, number, "name"), f"is {each.name!r} again: every producer and every group needs a name of its own")
        seen[each.name] += 1


def drain_copies_nothing(strategy: str, order: str, history: History) -> Iterator[Wrong]:
    """Before the flip of a drain there is nothing on T that a group could read."""
    if strategy != "drain":
        return
    if order != "writes_first":
        yield Wrong(("order",), f"cannot be {order} with strategy drain: nothing is on the target before the writes are switched")
    if history.from_ != "now":
        yield Wrong(("history", "from"), "must be now with strategy drain: it copies no history")


def one_formula_while_copying(strategy: str, partitioner: str, target: Target | None) -> Iterator[Wrong]:
    """Records that are copied forward keep the order of a key only while a follower partition's records come from few places."""
    if (
        strategy != "drain"
        and target is not None
        and target.partitioner is not None
        and family(target.partitioner) is not family(partitioner)
    ):
        yield Wrong(("target", "partitioner"), f"is {target.partitioner} and the source's is {partitioner}: only strategy drain changes it")


def dual_writers_write_both(strategy: str, producers: Sequence[Producer]) -> Iterator[Wrong]:
    """The client library writes both topics in one transaction; an application's own code may, and is audited."""
    dual = strategy == "dual_write"
    known = ("sdk", "own_dual_write") if dual else ("sdk", "manual", "hook")
    for number, each in enumerate(producers):
        if each.switch_kind not in known:
            words = (
                f"must be sdk or own_dual_write with strategy {strategy}"
                if dual
                else f"goes with strategy dual_write, and this is {strategy}"
            )
            yield Wrong(("producers", number, "switch"), f"{words}: {each.name} is {each.switch_kind}")


def nobody_holds_own_dual_writers(producers: Sequence[Producer], groups: Sequence[Group]) -> Iterator[Wrong]:
    """An exact hand-off while both topics are written takes a cut, for which every producer is held."""
    if all(each.switch_kind != "own_dual_write" for each in producers):
        return
    for number, each in enumerate(groups):
        if each.hand_off == "exact":
            words = "cannot be exact beside own_dual_write: nobody holds such a producer for a cut; say at_least_once with max_duplicates"
            yield Wrong(("groups", number, "hand_off"), words)


def both_are_written_first(strategy: str, order: str) -> Iterator[Wrong]:
    """Groups are moved while producers write both topics, and at no other time."""
    if strategy != "drain" and (strategy == "dual_write") != (order == "both_first"):
        yield Wrong(
            ("order",), f"cannot be {order} with strategy {strategy}: both_first is the order of dual_write, its only one, and of no other"
        )


def dual_writing_primes_nobody(strategy: str, groups: Sequence[Group]) -> Iterator[Wrong]:
    """A primed position is kept current by provenance, and records that were written twice have none."""
    if strategy != "dual_write":
        return
    for number, each in enumerate(groups):
        if each.switch_kind == "primed":
            yield Wrong(
                ("groups", number, "switch"), f"cannot be primed with strategy dual_write: take sdk, a hook or manual for {each.name}"
            )


def hooks_know_the_way_back(way_back: str, producers: Sequence[Producer], groups: Sequence[Group]) -> Iterator[Wrong]:
    """A way back that needs a command nobody wrote is none."""
    if way_back == "none":
        return
    for kind, all_of_them in (("producers", producers), ("groups", groups)):
        for number, each in enumerate(all_of_them):
            yield from (
                Wrong((kind, number, "switch", "hook", verb), f"is missing: way_back {way_back} needs it (none would not)")
                for verb in VERBS[2:]
                if each.hook is not None and each.hook.url is None and verb not in each.hook.verbs
            )


def waived_groups_are_not_moved(groups: Sequence[Group], waived_groups: Sequence[str]) -> Iterator[Wrong]:
    """A group is moved or waived."""
    moved = {each.name for each in groups}
    for number, name in enumerate(waived_groups):
        if name in moved:
            yield Wrong(("waived_groups", number), f"names {name}, which the plan moves: it is either moved or waived")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and the parts that it looks at, in the order of its arguments."""

    needs: tuple[str, ...]
    broken: Callable[..., Iterator[Wrong]]


RULES: Final = (
    Rule(("pairs", "source", "target"), one_pair_or_several),
    Rule(("pairs", "source", "target"), topics_differ),
    Rule(("pairs", "producers", "groups"), pairs_are_named),
    Rule(("pairs", "groups"), groups_of_several_pairs_are_not_primed),
    Rule(("producers", "groups"), names_are_unique),
    Rule(("strategy", "order", "history"), drain_copies_nothing),
    Rule(("strategy", "partitioner", "target"), one_formula_while_copying),
    Rule(("strategy", "producers"), dual_writers_write_both),
    Rule(("producers", "groups"), nobody_holds_own_dual_writers),
    Rule(("strategy", "order"), both_are_written_first),
    Rule(("strategy", "groups"), dual_writing_primes_nobody),
    Rule(("way_back", "producers", "groups"), hooks_know_the_way_back),
    Rule(("groups", "waived_groups"), waived_groups_are_not_moved),
)


def broken(parts: Mapping[str, Any]) -> Iterator[Wrong]:
    """Every rule that these parts break; a rule that needs a part which is not there is not asked."""
    for rule in RULES:
        if all(name in parts for name in rule.needs):
            yield from rule.broken(*(parts[name] for name in rule.needs))
