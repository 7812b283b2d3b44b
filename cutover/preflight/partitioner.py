"""The partitioner of the plan is the one that placed the keys that are there."""

from collections.abc import Iterator

from cutover import partitioners
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

WRONG, UNPROVED, ALIKE = "CUT-PRE-004", "CUT-PRE-005", "CUT-PRE-044"
LEAST_KEYS = 20


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red where the sample contradicts it, amber where nothing can be told, a note where another formula fits as well."""
    name, fit = partitioners.family(plan.partitioner).name, seen.fit
    score = next(each for each in fit.ranking if each.family == name)
    if score.keys_unexplained:
        yield _wrong(name, score.keys_unexplained, fit)
    elif fit.distinct_keys < LEAST_KEYS or fit.count == 1:
        yield _unproved(name, plan.source.topic, fit)
    else:
        yield from _alike(name, fit)


def _wrong(name: str, unexplained: int, fit: partitioners.Fit) -> Finding:
    return Finding(
        WRONG,
        Severity.RED,
        f"{unexplained} of {fit.distinct_keys} keys of the sample are not where {name} puts them",
        f"Of the sample: {fit.explain()}. Keys that sit elsewhere have no promise of order after a flip.",
        f"Name the partitioner that fits: {', '.join(fit.families) or 'none that is known does'}.",
        {"unexplained": unexplained, "keys": fit.distinct_keys, "verdict": fit.verdict, "families": list(fit.families)},
    )


def _unproved(name: str, topic: str, fit: partitioners.Fit) -> Finding:
    few = f"{fit.distinct_keys} keys were found on {topic}, too few to tell which partitioner placed them"
    return Finding(
        UNPROVED,
        Severity.AMBER,
        f"{topic} has one partition: every partitioner puts every key there" if fit.count == 1 else few,
        "A producer with another partitioner than the plan's would put its keys elsewhere than the mirror does, once there are more"
        " partitions.",
        f"Look at the partitioner of every producer, and acknowledge {UNPROVED} if it is {name}.",
        {"keys": fit.distinct_keys, "partitions": fit.count},
    )


def _alike(name: str, fit: partitioners.Fit) -> Iterator[Finding]:
    others = [each for each in fit.alike + fit.families if each != name and _formula(each) != _formula(name)]
    if others:
        yield Finding(
            ALIKE,
            Severity.NOTE,
            f"with {fit.count} partitions {name} cannot be told from {', '.join(others)}",
            "They put every key of the sample into the same partition, and will not with another count.",
            "Look at the partitioner of every producer.",
            {"alike": others, "keys": fit.distinct_keys},
        )


def _formula(name: str) -> tuple[object, object]:
    found = partitioners.FAMILIES[name]
    return found.hash, found.reduce
