"""The canonical form: it is a plan again, its digest depends on what is meant and on nothing else, differences name their field."""

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover.plan import Change, Plan, canonical, difference, digest, load, resolved, understand, written
from tests.unit.test_plan import EXAMPLES, LEAST, plan

PLANS = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


@PLANS
def test_a_resolved_plan_is_the_same_plan_again(path: Path) -> None:
    found = load(path, {})
    again = understand(yaml.safe_dump(resolved(found), sort_keys=False), "again.yaml", {}).plan
    assert again == found
    assert digest(again) == digest(found)
    assert Plan.model_validate(json.loads(canonical(resolved(found)))) == found


@PLANS
def test_what_was_written_is_the_same_plan_again(path: Path) -> None:
    found = load(path, {})
    assert understand(yaml.safe_dump(written(found), sort_keys=False), "again.yaml", {}).plan == found
    assert set(written(found)) < set(resolved(found))


def test_a_resolved_plan_has_every_field() -> None:
    assert set(resolved(plan())) == set(Plan.model_fields)


def test_the_digest_is_that_of_canonical_json() -> None:
    text = json.dumps(resolved(plan()), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest(plan()) == hashlib.sha256(text.encode("utf-8")).hexdigest()
    assert canonical({"b": "é", "a": [1, None]}) == '{"a":[1,null],"b":"é"}'.encode()


@pytest.mark.parametrize(
    "more",
    [
        "budgets: {hold: 2000ms}",
        "budgets: {stage: 120m}",
        "# words",
        "groups: []",
        "history: {from: earliest}",
        "order: groups_first",
        "window:",
    ],
)
def test_other_words_for_the_same_plan_have_the_same_digest(more: str) -> None:
    assert digest(plan(more)) == digest(plan())


def test_a_partitioner_by_another_name_is_the_same_plan() -> None:
    assert digest(plan("partitioner: consistent_random", "partitioner")) == digest(plan("partitioner: crc32", "partitioner"))


def test_a_time_in_another_zone_is_the_same_plan() -> None:
    assert digest(plan('history: {from: "2026-01-31T08:00:00-05:00"}')) == digest(plan('history: {from: "2026-01-31T13:00:00Z"}'))


def mutations(values: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON values
    """The values with one leaf changed, each leaf in turn."""
    if isinstance(values, dict | list):
        for key in list(values) if isinstance(values, dict) else range(len(values)):
            for changed in mutations(values[key]):
                copied = copy.copy(values)
                copied[key] = changed
                yield copied
    else:
        yield "changed" if values is None else (not values if isinstance(values, bool) else f"{values}1")


@PLANS
def test_a_change_of_any_field_is_seen_and_named(path: Path) -> None:
    before = resolved(load(path, {}))
    leaves = list(mutations(before))
    assert len(leaves) >= 50
    for after in leaves:
        assert canonical(after) != canonical(before)
        assert difference(before, after) != []


def test_equal_plans_do_not_differ() -> None:
    assert difference(resolved(plan()), resolved(plan("budgets: {hold: 2000ms}"))) == []


def test_a_difference_names_the_field_and_both_values() -> None:
    before = "groups: [{name: a, owner: t, switch: sdk}, {name: b, owner: t, switch: sdk}, {name: c, owner: t, switch: sdk}]"
    after = "budgets: {hold: 3s}\ngroups: [{name: c, owner: t, switch: sdk}, {name: a, owner: u, switch: manual}]"
    removed = resolved(plan(before))["groups"][1]
    assert difference(resolved(plan(before)), resolved(plan(after))) == [
        Change("groups[a].owner", "t", "u"),
        Change("groups[a].switch", "sdk", "manual"),
        Change("groups[a].hand_off", "exact", "at_least_once"),
        Change("groups[b]", removed, None),
        Change("groups (order)", ["a", "c"], ["c", "a"]),
        Change("budgets.hold", "2s", "3s"),
    ]


def test_a_config_that_is_added_is_named() -> None:
    more = LEAST.replace("partitions: 12}", "partitions: 12, config: {retention.ms: inherit}}")
    after = understand(more, "p.yaml", {}).plan
    assert difference(resolved(plan()), resolved(after)) == [Change("target.config.retention.ms", None, "inherit")]
