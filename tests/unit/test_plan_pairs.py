"""Plans that name several pairs: what they say of each, what they refuse, and that they read back as the same plan."""

import json

import pytest
import yaml

from cutover.errors import PlanInvalid
from cutover.plan import Plan, digest, resolved, understand

HEAD = {"cutover": "join-3-to-12", "cluster": {"bootstrap": "localhost:9092"}, "partitioner": "murmur2"}
ONE = {"source": {"topic": "orders"}, "target": {"topic": "orders.v2", "partitions": 12}}
OTHER = {"source": {"topic": "customers"}, "target": {"topic": "customers.v2", "partitions": 24}}
GROUP = {"owner": "team-a", "switch": "manual"}
PRODUCER = {"owner": "team-a", "switch": "sdk"}
Told = dict[str, object]


def read(**told: object) -> Plan:
    written_out = json.loads(json.dumps({**HEAD, **told}))  # nothing twice, else YAML would have aliases
    return understand(yaml.safe_dump(written_out), "plan.yaml", {}).plan


def said(**told: object) -> list[str]:
    with pytest.raises(PlanInvalid) as refused:
        read(**told)
    return [f"{each['path']}: {each['what']}" for each in refused.value.fields["errors"]]


def test_each_pair_has_a_plan_of_its_own_with_those_who_touch_it() -> None:
    plan = read(
        pairs=[ONE, OTHER],
        producers=[{**PRODUCER, "name": "all"}, {**PRODUCER, "name": "second", "pairs": ["customers"]}],
        groups=[{**GROUP, "name": "first", "pairs": ["orders"]}, {**GROUP, "name": "join"}],
        budgets={"hold": "3s"},
    )
    one, other = plan.of_each_pair()
    assert [(each.source.topic, each.target.topic, each.target.partitions) for each in (one, other)] == [
        ("orders", "orders.v2", 12),
        ("customers", "customers.v2", 24),
    ]
    assert [[each.name for each in found.producers] for found in (one, other)] == [["all"], ["all", "second"]]
    assert [[each.name for each in found.groups] for found in (one, other)] == [["first", "join"], ["join"]]
    assert {each.budgets.hold for each in (plan, one, other)} == {3.0}


def test_a_plan_of_one_pair_is_its_own() -> None:
    plan = read(**ONE)
    assert plan.of_each_pair() == (plan,)


def test_written_out_it_is_the_same_plan_again() -> None:
    plan = read(pairs=[ONE, OTHER])
    told = resolved(plan)
    assert "source" not in told
    assert digest(understand(yaml.safe_dump(told), "plan.yaml", {}).plan) == digest(plan)
    assert digest(read(pairs=[OTHER, ONE])) != digest(plan)


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({}, ["source: is missing", "target: is missing"]),
        ({"pairs": [ONE]}, ["pairs: has one pair: name it by source and target"]),
        (
            {"pairs": [ONE, OTHER], "source": {"topic": "clicks"}},
            ["source: stands beside pairs: name one pair by source and target, or several under pairs"],
        ),
        (
            {"pairs": [ONE, ONE]},
            [
                f"pairs[1].{side}.topic: is there already, {name}: name another topic"
                for side, name in (("source", "orders"), ("target", "orders.v2"))
            ],
        ),
        (
            {"pairs": [ONE, {**OTHER, "target": {"topic": "orders_v2", "partitions": 3}}]},
            ["pairs[1].target.topic: differs from orders.v2 only in dots and underscores, which Kafka refuses"],
        ),
        (
            {"pairs": [ONE, OTHER], "groups": [{**GROUP, "name": "g", "pairs": ["orders", "clicks"]}]},
            ["groups[0].pairs[1]: is clicks, and the plan has no pair with that source"],
        ),
        (
            {**ONE, "producers": [{**PRODUCER, "name": "p", "pairs": ["orders"]}]},
            ["producers[0].pairs[0]: is orders, and the plan has no pair with that source"],
        ),
        (
            {"pairs": [ONE, OTHER], "groups": [{"owner": "team-a", "name": "g", "switch": "primed"}]},
            ["groups[0].switch: is primed, and g reads several pairs: it is moved by sdk, hook or manual, or names one pair"],
        ),
        ({"pairs": [ONE, {"source": {"topic": "customers"}}]}, ["pairs[1].target: is missing"]),
        ({"pairs": [ONE, OTHER], "moves": {"parallel": 0}}, ["moves.parallel: is 0, must be at least 1"]),
    ],
    ids=lambda each: "" if isinstance(each, list) else str(sorted(each)),
)
def test_what_cannot_be_is_refused_at_its_place(told: Told, wrong: list[str]) -> None:
    assert said(**told) == wrong
