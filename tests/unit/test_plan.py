"""The fields of a plan: examples load, defaults are those that are documented, everything has its unit and its bounds."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.engine.configuration import Rate, Start
from cutover.errors import PlanInvalid
from cutover.partitioners import ALIASES, FAMILIES
from cutover.plan import Plan, Window, lint, load, understand
from cutover.plan.lint import notes
from cutover.plan.units import MILLISECONDS, RUN_NAME, duration_seconds, duration_text
from cutover.run import NAME

EXAMPLES = sorted((Path(__file__).parents[2] / "plans").glob("*.yaml"))
LEAST = """
cutover: clicks-3-to-12
cluster: {bootstrap: "localhost:9092"}
source: {topic: clicks}
target: {topic: clicks.v2, partitions: 12}
partitioner: murmur2
"""
HOOK = "hook: {stop_source: [a], start_target: [b], stop_target: [c], start_source: [d]}"


def plan(more: str = "", without: str = "") -> Plan:
    lines = [line for line in LEAST.splitlines() if not without or not line.startswith(without)]
    return understand("\n".join(lines) + "\n" + more, "plan.yaml", {}).plan


def said(more: str, without: str = "") -> list[str]:
    """What is wrong, as path: what."""
    with pytest.raises(PlanInvalid) as refused:
        plan(more, without)
    return [f"{each['path']}: {each['what']}" for each in refused.value.fields["errors"]]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_plan_without_errors_and_notes(path: Path) -> None:
    report = lint(path, {})
    assert (report.errors, report.notes) == ((), ())
    assert report.plan is not None


def test_the_examples_are_five() -> None:
    assert [path.name for path in EXAMPLES] == [
        "balances-dual-write.yaml",
        "join.yaml",
        "orders.yaml",
        "payments-writes-first.yaml",
        "smallest.yaml",
    ]


def test_the_defaults_are_those_of_the_design() -> None:
    found = plan()
    assert (found.strategy, found.order, found.history.from_, found.null_keys) == ("mirror", "groups_first", "earliest", "keep_partition")
    assert (found.stragglers, found.way_back, found.allow_shrink, found.window) == ("refuse", "full", False, None)
    budgets = found.budgets
    assert (budgets.hold, budgets.mirror_lag, budgets.mirror_lag_for, budgets.audit_age) == (2.0, 0.5, 10.0, 5.0)
    assert (budgets.flip_attempts, budgets.stage, budgets.quarantine, budgets.on_deadline) == (5, 7200.0, 300.0, "pause")
    assert (found.soak.for_, found.soak.max_group_lag) == (1800.0, 10_000)
    assert (found.mirror.workers, found.mirror.lanes, found.mirror.rate, found.mirror.grace) == (1, None, "none", 60.0)
    assert (found.prime.interval, found.approvals.four_eyes) == (0.1, False)
    assert (found.approvals.gates.run, found.approvals.gates.flip, found.approvals.gates.complete) == (0, 0, 0)
    assert (found.producers, found.groups, found.acknowledged, found.waived_groups) == ((), (), (), ())
    assert (found.target.replication, dict(found.target.config)) == (None, {})


@pytest.mark.parametrize(
    ("switch", "kind", "hand_off"),
    [
        ("sdk", "sdk", "exact"),
        ("primed", "primed", "at_least_once"),
        ("manual", "manual", "at_least_once"),
        (f"{{{HOOK}}}", "hook", "exact"),
    ],
)
def test_how_a_group_is_switched_decides_what_it_is_promised(switch: str, kind: str, hand_off: str) -> None:
    [group] = plan(f"groups: [{{name: g, owner: team-a, switch: {switch}}}]").groups
    assert (group.switch_kind, group.hand_off, group.hook is not None) == (kind, hand_off, kind == "hook")


def test_a_hook_knows_its_commands_by_verb() -> None:
    [producer] = plan(f"producers: [{{name: p, owner: team-a, switch: {{{HOOK}}}}}]").producers
    assert producer.hook is not None
    assert producer.hook.verbs == {"stop_source": ("a",), "start_target": ("b",), "stop_target": ("c",), "start_source": ("d",)}
    assert producer.hook.timeout == 60.0


def test_nothing_of_a_plan_can_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        plan().cutover = "other"  # type: ignore[misc]


@given(st.integers(0, 999_999_999), st.sampled_from(list(MILLISECONDS)))
def test_a_duration_keeps_its_length_whatever_its_unit(number: int, unit: str) -> None:
    seconds = duration_seconds(f"{number}{unit}")
    assert round(seconds * 1000) == number * MILLISECONDS[unit]
    assert duration_seconds(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("2", "is 2, without a unit: write 2s or 2ms"),
        ('"2.5"', "is 2.5, without a unit: write 2.5s or 2.5ms"),
        ("2 s", "is '2 s', not a whole number with one of the units ms, s, m, h, d"),
        ("2sec", "is '2sec', not a whole number with one of the units ms, s, m, h, d"),
        ("2M", "is '2M', not a whole number with one of the units ms, s, m, h, d"),
        ("-2s", "is '-2s', not a whole number with one of the units ms, s, m, h, d"),
        ("false", "is False, not a whole number with one of the units ms, s, m, h, d"),
        ("", "is None, not a whole number with one of the units ms, s, m, h, d"),
        ("0", "is 0s, outside 100ms to 2m"),
        ("3m", "is 3m, outside 100ms to 2m"),
    ],
)
def test_a_duration_without_its_unit_or_out_of_bounds_is_refused(written: str, what: str) -> None:
    assert said(f"budgets: {{hold: {written}}}") == [f"budgets.hold: {what}"]


def test_zero_needs_no_unit_where_zero_is_allowed() -> None:
    assert plan("budgets: {quarantine: 0}").budgets.quarantine == plan('soak: {for: "0"}').soak.for_ == 0.0


@pytest.mark.parametrize("rate", ["none", "10000/s", "10k/s", "2.5M/s", "5MB/s", "512KiB/s", "1GB/s", "800B/s", "3GiB/s", "100kB/s"])
def test_a_rate_of_a_plan_is_one_that_the_mirror_takes(rate: str) -> None:
    found = Rate.parse(plan(f"mirror: {{rate: {rate}}}").mirror.rate)
    assert (found.records_per_second or found.bytes_per_second) == 0 if rate == "none" else found != Rate()


@pytest.mark.parametrize("rate", ["10000", "5MB", "fast", "5 MB/s", "0/s", "0.0MB/s"])
def test_a_rate_without_its_unit_and_one_of_nothing_are_refused(rate: str) -> None:
    assert len(said(f'mirror: {{rate: "{rate}"}}')) == 1


@pytest.mark.parametrize(("written", "start"), [("earliest", "earliest"), ("now", "latest"), ("2026-01-31T08:00:00-05:00", None)])
def test_history_is_told_to_the_mirror_in_its_own_words(written: str, start: str | None) -> None:
    told = Start.parse(plan(f'history: {{from: "{written}"}}').history.mirror_start)
    assert str(told) == (start or "2026-01-31T13:00:00.000+00:00")


@pytest.mark.parametrize("written", ["latest", "2026-01-31T08:00:00", "yesterday", "1700000000"])
def test_a_time_without_a_zone_is_refused(written: str) -> None:
    assert len(said(f'history: {{from: "{written}"}}')) == 1


@pytest.mark.parametrize("name", [*FAMILIES, *ALIASES])
def test_every_partitioner_is_taken_by_each_of_its_names(name: str) -> None:
    assert plan(f"partitioner: {name}", without="partitioner").partitioner == ALIASES.get(name, name)


def test_the_name_of_a_run_is_one_that_the_mirror_takes() -> None:
    assert RUN_NAME.pattern == NAME.pattern


def test_configs_may_be_written_as_numbers_and_stay_text() -> None:
    found = plan(
        "target:\n  topic: t\n  partitions: 2\n  config:"
        " {retention.ms: 604800000, preallocate: true, min.cleanable.dirty.ratio: 0.50, a: inherit}",
        without="target",
    )
    assert found.target.config == {"retention.ms": "604800000", "preallocate": "true", "min.cleanable.dirty.ratio": "0.50", "a": "inherit"}


WRONG_VALUES: list[tuple[str, str, str]] = [
    ("source: {topic: a/b}", "source", "source.topic: is 'a/b', no name that Kafka takes"),
    ("source: {topic: ..}", "source", "source.topic: is '..', no name that Kafka takes"),
    ("cutover: a b", "cutover", "cutover: is 'a b', not 1 to 120 letters"),
    ("target: {topic: t, partitions: 0}", "target", "target.partitions: is 0, must be at least 1"),
    ('target: {topic: t, partitions: "24"}', "target", "target.partitions: must be a whole number: write 24 without quotes"),
    ("target: {topic: t, partitions: many}", "target", "target.partitions: must be a whole number"),
    ("mirror: {workers: 65}", "", "mirror.workers: is 65, must be at most 64"),
    ("cluster: {bootstrap: localhost}", "cluster", "cluster.bootstrap: is not HOST:PORT"),
    ('cluster: {bootstrap: "user:word@host:9092"}', "cluster", "cluster.bootstrap: is not HOST:PORT"),
    ('cluster: {bootstrap: "host:99999"}', "cluster", "cluster.bootstrap: is not HOST:PORT"),
    ('cluster: {profile: a, bootstrap: "b:1"}', "cluster", "cluster: names the cluster by either profile or bootstrap"),
    ("cluster: {}", "cluster", "cluster: names the cluster by either profile or bootstrap"),
    ("partitioner: round_robin", "partitioner", "partitioner: is 'round_robin', which is not known"),
    ("allow_shrink: maybe", "", "allow_shrink: must be true or false"),
    ("allow_shrink: yes", "", "allow_shrink: must be true or false"),
    ("order: whenever", "", "order: is 'whenever', not groups_first, writes_first or both_first"),
    ("groups: 5", "", "groups: must be a list"),
    ("groups: [5]", "", "groups[0]: must be a mapping (name: value)"),
    ("target: {topic: t, partitions: 1, config: [a]}", "target", "target.config: must be a mapping (name: value)"),
    ("groups: [{name: 5, owner: t, switch: sdk}]", "", 'groups[0].name: must be text: write "5" with quotes'),
    ("groups: [{name: true, owner: t, switch: sdk}]", "", 'groups[0].name: must be text: write "true" with quotes'),
    ('groups: [{name: " ", owner: t, switch: sdk}]', "", "groups[0].name: must be one line of 1 to 255 characters"),
    ("groups: [{name: g, owner: t, switch: magic}]", "", "groups[0].switch: is 'magic', not sdk, primed or manual"),
    ("producers: [{name: p, owner: t, switch: primed}]", "", "producers[0].switch: is 'primed', not sdk, manual or own_dual_write"),
    ("producers: [{name: p, owner: t, switch: 7}]", "", "producers[0].switch: is 7, not sdk, manual or own_dual_write"),
    ("producers: [{name: p, owner: t, switch: sdk, principal: bob}]", "", "producers[0].principal: is 'bob', not a principal"),
    (f"strategy: {'x' * 99}", "", f"strategy: is '{'x' * 60}...', not mirror, dual_write or drain"),
    ("approvals: {four_eyes: true}", "", "approvals.four_eyes: asks for another person, and no gate asks for an approval"),
    ("window: {from: 10:00, to: 25:00, zone: UTC}", "", "window.to: is '25:00', not a time of day"),
    ("window: {from: 10:00, to: 10:00, zone: UTC}", "", "window.to: is the same as from"),
    ("window: {from: 10:00, to: 11:00, zone: Mars/Base}", "", "window.zone: is 'Mars/Base', no time zone"),
    ("window: {from: 10:00, to: 11:00, zone: ../etc}", "", "window.zone: is '../etc', no time zone"),
    ("window: {from: 10:00, to: 11:00, zone: UTC, days: []}", "", "window.days: must not be empty"),
    ("window: {from: 10:00, to: 11:00, zone: UTC, days: [monday]}", "", "window.days[0]: is 'monday', not mon, tue"),
    ("window: {to: 11:00, zone: UTC}", "", "window.from: is missing"),
    ("stragler: refuse", "", "stragler: is not known here: did you mean stragglers?"),
    ("budgets: {zzz: 1s}", "", "budgets.zzz: is not known here: known are hold, mirror_lag"),
    ("groups: [{name: g, owner: t, swich: sdk, switch: sdk}]", "", "groups[0].swich: is not known here: did you mean switch?"),
]


@pytest.mark.parametrize(("more", "without", "what"), WRONG_VALUES, ids=[each[0][:60] for each in WRONG_VALUES])
def test_a_wrong_value_is_refused_in_plain_words(more: str, without: str, what: str) -> None:
    [found] = said(more, without)
    assert found.startswith(what)


WRONG_HOOKS: list[tuple[str, str]] = [
    (
        "{stop_source: systemctl stop a}",
        "stop_source: is one text: write the command as a list, [systemctl, stop, importer]; there is no shell",
    ),
    ("{stop_source: [a]}", "start_target: is missing: it is needed on the way there"),
    ("{stop_source: [], start_target: [b]}", "stop_source: must not be empty"),
    ('{stop_source: [""], start_target: [b]}', "stop_source[0]: must not be empty"),
    ("{stop_source: [sleep, 5], start_target: [b]}", 'stop_source[1]: must be text: write "5" with quotes'),
    ("{stop_source: [a], start_target: [b], secret: env:KEY}", "secret: signs what is posted to a url, and there is none"),
    ("{url: https://a/b}", "secret: is missing: what is posted must be signed; write env:NAME or file:/path"),
    ("{url: https://a/b, secret: hunter2}", "secret: holds a secret in the open: write env:NAME or file:/path"),
    ("{url: https://a/b, secret: env:KEY, check: [a]}", "check: stands beside url: give commands or a url, not both"),
    ("{url: https://a/b, secret: env:KEY, env: {A: b}}", "env: is for commands, and this hook is a url"),
    ("{url: http://a/b, secret: env:KEY}", "url: must begin with https:// (http:// only to this host itself)"),
    ("{url: ftp://localhost/b, secret: env:KEY}", "url: must begin with https:// (http:// only to this host itself)"),
    (
        "{url: https://u:p@a/b, secret: env:KEY}",
        "url: must be https://HOST/... without a user name; authentication is by the signature under `secret`",
    ),
    ('{url: "https://[a/b", secret: env:KEY}', "url: is not a URL"),
    ("{url: https://a/b, secret: env:KEY, timeout: 2h}", "timeout: is 2h, outside 100ms to 1h"),
]


@pytest.mark.parametrize(("hook", "what"), WRONG_HOOKS, ids=[each[0] for each in WRONG_HOOKS])
def test_a_wrong_hook_is_refused_in_plain_words(hook: str, what: str) -> None:
    assert said(f"way_back: none\ngroups: [{{name: g, owner: team-a, switch: {{hook: {hook}}}}}]") == [f"groups[0].switch.hook.{what}"]


@pytest.mark.parametrize("url", ["https://deploy.example.com/x", "http://localhost:8080/x", "http://127.0.0.1/x", "http://[::1]:8080/x"])
def test_a_hook_may_be_an_address(url: str) -> None:
    [group] = plan(f'groups: [{{name: g, owner: team-a, switch: {{hook: {{url: "{url}", secret: file:/run/key}}}}}}]').groups
    assert group.hook is not None
    assert (group.hook.url, group.hook.secret, group.hook.verbs) == (url, "file:/run/key", {})


@pytest.mark.parametrize(
    ("group", "path"),
    [
        ("switch: primed, hand_off: exact", "hand_off"),
        ("switch: manual, hand_off: exact", "hand_off"),
        ("switch: sdk, isolation: read_uncommitted", "isolation"),
        ("switch: sdk, max_duplicates: 5", "max_duplicates"),
    ],
)
def test_a_group_is_promised_nothing_that_its_switch_cannot_keep(group: str, path: str) -> None:
    [found] = said(f"groups: [{{name: g, owner: team-a, {group}}}]")
    assert found.startswith(f"groups[0].{path}: ")


WRONG_TOGETHER: list[tuple[str, str, list[str]]] = [
    ("target: {topic: clicks, partitions: 2}", "target", ["target.topic: is the source, clicks: name another topic"]),
    (
        "source: {topic: clicks_v2}",
        "source",
        ["target.topic: differs from clicks_v2 only in dots and underscores, which Kafka refuses"],
    ),
    (
        "producers: [{name: a, owner: t, switch: sdk}, {name: a, owner: t, switch: sdk}]\ngroups: [{name: a, owner: t, switch: sdk}]",
        "",
        [
            "groups[0].name: is 'a' again: every producer and every group needs a name of its own",
            "producers[1].name: is 'a' again: every producer and every group needs a name of its own",
        ],
    ),
    (
        "strategy: drain\norder: groups_first\nhistory: {from: earliest}",
        "",
        [
            "order: cannot be groups_first with strategy drain: nothing is on the target before the writes are switched",
            "history.from: must be now with strategy drain: it copies no history",
        ],
    ),
    (
        "strategy: dual_write\nproducers: [{name: a, owner: t, switch: sdk}, {name: b, owner: t, switch: manual}]",
        "",
        ["producers[1].switch: must be sdk or own_dual_write with strategy dual_write: b is manual"],
    ),
    (
        "producers: [{name: a, owner: t, switch: own_dual_write}]\n"
        "groups: [{name: b, owner: t, switch: sdk}, {name: c, owner: t, switch: manual}]",
        "",
        [
            "groups[0].hand_off: cannot be exact beside own_dual_write: nobody holds such a producer for a cut;"
            " say at_least_once with max_duplicates",
            "producers[0].switch: goes with strategy dual_write, and this is mirror: a is own_dual_write",
        ],
    ),
    (
        "strategy: dual_write\norder: groups_first\ngroups: [{name: a, owner: t, switch: primed}]",
        "",
        [
            "groups[0].switch: cannot be primed with strategy dual_write: take sdk, a hook or manual for a",
            "order: cannot be groups_first with strategy dual_write: both_first is the order of dual_write, its only one, and of no other",
        ],
    ),
    (
        "order: both_first",
        "",
        ["order: cannot be both_first with strategy mirror: both_first is the order of dual_write, its only one, and of no other"],
    ),
    (
        "groups: [{name: a, owner: t, switch: {hook: {stop_source: [a], start_target: [b]}}}]",
        "",
        [
            "groups[0].switch.hook.stop_target: is missing: way_back full needs it (none would not)",
            "groups[0].switch.hook.start_source: is missing: way_back full needs it (none would not)",
        ],
    ),
    (
        "groups: [{name: a, owner: t, switch: sdk}]\nwaived_groups: [b, a]",
        "",
        ["waived_groups[1]: names a, which the plan moves: it is either moved or waived"],
    ),
]


@pytest.mark.parametrize(("more", "without", "what"), WRONG_TOGETHER, ids=[each[0][:50] for each in WRONG_TOGETHER])
def test_what_cannot_be_true_together_is_refused(more: str, without: str, what: list[str]) -> None:
    assert sorted(said(more, without)) == sorted(what)


def test_a_rule_between_fields_is_told_beside_what_is_wrong_elsewhere() -> None:
    found = said("target: {topic: clicks, partitions: 2}\nbudgets: {hold: 2}\nstrategy: nonsense\norder: groups_first", without="target")
    assert [each.partition(":")[0] for each in found] == ["target.topic", "budgets.hold", "strategy"]


def test_a_rule_between_fields_is_told_beside_a_part_that_is_missing() -> None:
    assert [each.partition(":")[0] for each in said("strategy: drain\norder: groups_first", without="partitioner")] == [
        "partitioner",
        "order",
    ]


def test_a_drain_has_the_only_order_and_history_that_it_can_have() -> None:
    found = plan("strategy: drain")
    assert (found.order, found.history.from_) == ("writes_first", "now")


def test_dual_writing_has_the_only_order_that_it_can_have() -> None:
    assert plan("strategy: dual_write").order == "both_first"


def at(text: str, zone: str = "America/Toronto") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def window(**values: object) -> Window:
    return Window.model_validate({"zone": "America/Toronto", **values})


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        (at("2026-11-24T09:59:59"), False),
        (at("2026-11-24T10:00:00"), True),
        (at("2026-11-24T15:59:59"), True),
        (at("2026-11-24T16:00:00"), False),
        (at("2026-11-23T12:00:00"), False),  # a Monday
        (at("2026-11-24T16:30:00", "UTC"), True),
        (at("2026-11-24T12:00:00", "UTC"), False),
    ],
)
def test_a_window_is_open_on_its_days_between_its_times_in_its_zone(moment: datetime, *, is_open: bool) -> None:
    assert window(days=["tue", "wed"], **{"from": "10:00", "to": "16:00"}).is_open(moment) is is_open


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        (at("2026-11-24T22:00:00"), True),
        (at("2026-11-25T03:59:00"), True),  # Wednesday, opened on Tuesday
        (at("2026-11-25T04:00:00"), False),
        (at("2026-11-25T23:00:00"), False),
        (at("2026-11-24T03:00:00"), False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens(moment: datetime, *, is_open: bool) -> None:
    assert window(days=["tue"], **{"from": "22:00", "to": "04:00"}).is_open(moment) is is_open


def test_a_plan_is_loaded_from_a_file_as_from_its_text(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(LEAST)
    assert load(tmp_path / "plan.yaml", {}) == plan()


def test_another_partitioner_on_the_target_goes_with_a_drain_alone() -> None:
    target = "target: {topic: clicks.v2, partitions: 12, partitioner: crc32}"
    assert said(target, without="target") == ["target.partitioner: is crc32 and the source's is murmur2: only strategy drain changes it"]
    assert plan(f"{target}\nstrategy: drain", without="target").changes_partitioner
    assert not plan("target: {topic: clicks.v2, partitions: 12, partitioner: murmur2_random}", without="target").changes_partitioner


def test_a_plan_without_a_way_back_is_noted() -> None:
    assert ("way_back",) in [each.path for each in notes(plan("way_back: none"))]
