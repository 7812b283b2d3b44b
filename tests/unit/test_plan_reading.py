"""Reading a file: every error at its line and column, all at once; nothing that surprises; no secret repeated; variables where allowed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import PlanInvalid, PlanUnreadable
from cutover.plan import Loaded, load, read, understand
from cutover.plan.reading import LARGEST_BYTES
from cutover.plan.source import DEEPEST, parse
from tests.unit.test_plan import EXAMPLES, LEAST

MANY = """\
cutover: bad name
cluster: {profil: a, bootstrap: "b:1"}
source: {topic: orders}
target:
  topic: orders.v2
  partitions: "24"
partitioner: murmur
budgets: {hold: 2, mirror_lag: 2s, mirror_lag: 3s}
groups:
  - {name: a, owner: team-a, switch: primed, hand_off: exact}
  - name: b
    owner: 5
    switch: {hok: {}}
window: {from: 10:00, to: 11:00, zone: Mars}
"""


def errors(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(PlanInvalid) as refused:
        understand(text, "p.yaml", environ or {})
    return [f"{each['line']}:{each['column']}: {each['path']}: {each['what']}" for each in refused.value.fields["errors"]]


def where(text: str) -> list[str]:
    return [" ".join(each.split(": ")[:2]) for each in errors(text)]


def test_every_error_of_a_file_comes_out_at_once_each_at_its_line_and_column() -> None:
    assert where(MANY) == [
        "1:1 cutover",
        "2:11 cluster.profil",
        "6:3 target.partitions",
        "7:1 partitioner",
        "8:11 budgets.hold",
        "8:36 budgets.mirror_lag",
        "10:46 groups[0].hand_off",
        "12:5 groups[1].owner",
        "13:5 groups[1].switch.hook",
        "13:14 groups[1].switch.hok",
        "14:34 window.zone",
    ]


def test_the_words_of_the_error_are_the_lines_that_an_editor_follows() -> None:
    with pytest.raises(PlanInvalid) as refused:
        understand("cutover: a\n", "plans/p.yaml", {})
    error = refused.value
    assert (error.id, error.exit_code, error.what) == ("CUT-PLN-004", 2, "plans/p.yaml has 4 errors")
    assert [line.strip() for line in error.why.splitlines()] == [
        f"plans/p.yaml:1:1: {name}: is missing" for name in ("cluster", "partitioner", "source", "target")
    ]


def test_a_field_that_is_missing_is_reported_where_it_would_stand() -> None:
    assert errors(LEAST + "groups:\n  - {name: a, owner: t, switch: sdk}\n  - {name: b, owner: t}\n") == [
        "9:5: groups[1].switch: is missing"
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_lacks_everything_that_is_required(text: str) -> None:
    assert {each.split(": ")[1] for each in errors(text)} == {"cutover", "cluster", "source", "target", "partitioner"}


@pytest.mark.parametrize("text", ["just words\n", "- a\n- b\n", "5\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    assert errors(text) == ["1:1: plan: must be a mapping (name: value)"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\na: 2\n", "2:1: a: stands here again: it is in line 1 already"),
        ("a: {b: 1, c: 2, b: 3}\n", "1:17: a.b: stands here again: it is in line 1 already"),
        ("a: &x 1\n", "1:4: plan: holds an anchor or an alias: write the value out in both places"),
        ("a: *x\n", "1:4: plan: holds an anchor or an alias: write the value out in both places"),
        ("a: !!int '5'\n", "1:4: plan: holds the tag tag:yaml.org,2002:int: a plan has none"),
        ("a: !!python/name:os.system x\n", "1:4: plan: holds the tag tag:yaml.org,2002:python/name:os.system: a plan has none"),
        ("a: !mine {}\n", "1:4: plan: holds the tag !mine: a plan has none"),
        ("a: 1\n---\na: 1\n", "2:1: plan: holds a second document: one file is one plan"),
        ("[a]: 1\n", "1:1: plan: has a key that is not text"),
        ("a: [1\n", "2:1: plan: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a:\n\tb: 1\n", "2:1: plan: is not YAML: found character '\\t' that cannot start any token"),
        ("a: b: c\n", "1:5: plan: is not YAML: mapping values are not allowed here"),
        ("a: {b: ${C}}\n", "1:9: plan: is not YAML: expected ',' or '}', but got '{': write a ${VARIABLE} in quotes"),
        ("a: 1\nbc: \x07\n", "2:5: plan: is not YAML: it holds a character that YAML does not allow"),
        ("a: " + "[" * DEEPEST + "]" * DEEPEST, f"1:{3 + DEEPEST}: plan: is nested too deeply"),
    ],
)  # fmt: skip
def test_yaml_that_is_broken_or_more_than_plain_is_refused_at_its_place(text: str, error: str) -> None:
    assert error in errors(text)


def test_plain_scalars_are_text_unless_they_are_true_false_null_or_whole_numbers() -> None:
    text = "{a: 10:00, b: no, c: on, d: 010, e: 0x10, f: 1_000, g: 2026-01-31, h: 1.50, i: True, j: ~, k: , l: -3, m: '5', n: 1e3, o: <<}"
    assert parse(text).values == {
        "a": "10:00",
        "b": "no",
        "c": "on",
        "d": "010",
        "e": "0x10",
        "f": "1_000",
        "g": "2026-01-31",
        "h": "1.50",
        "i": "True",
        "j": None,
        "k": None,
        "l": -3,
        "m": "5",
        "n": "1e3",
        "o": "<<",
    }


@given(st.text(max_size=200))
def test_whatever_the_text_it_is_read_or_refused_in_words(text: str) -> None:
    with pytest.raises(PlanInvalid) as refused:
        understand(text, "p.yaml", {})
    assert refused.value.fields["errors"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@given(at=st.integers(0, 2000), length=st.integers(1, 30), instead=st.sampled_from(["", "x", ": ", "{", "]", "\n", "'", '"', "0"]))
def test_a_damaged_example_is_read_or_refused_in_words(path: Path, at: int, length: int, instead: str) -> None:
    text = path.read_text()
    begin = at % len(text)
    found: list[dict[str, str]] = []
    try:
        understand(text[:begin] + instead + text[begin + length :], "p.yaml", {})
    except PlanInvalid as error:
        found = error.fields["errors"]
    assert all("Input should" not in each["what"] and "Field " not in each["what"] for each in found)


VARIABLES = {"PROFILE": "staging", "HOST": "deploy.example.com", "VERSION": "v2"}
WITH_VARIABLES = """
cutover: clicks
cluster: {profile: "${PROFILE}"}
source: {topic: clicks}
target: {topic: clicks.v2, partitions: 12}
partitioner: murmur2
way_back: none
groups:
  - {name: a, owner: team-a, switch: {hook: {url: "https://${HOST}/hook", secret: env:HOOK}}}
  - {name: b, owner: team-b, switch: {hook: {stop_source: [a], start_target: [b], env: {RELEASE: "b-${VERSION}"}}}}
"""


def test_variables_are_filled_in_where_a_field_says_so() -> None:
    found = understand(WITH_VARIABLES, "p.yaml", VARIABLES).plan
    assert found.cluster.profile == "staging"
    assert [group.hook and (group.hook.url, dict(group.hook.env)) for group in found.groups] == [
        ("https://deploy.example.com/hook", {}),
        (None, {"RELEASE": "b-v2"}),
    ]


def test_a_variable_that_is_not_set_is_an_error_and_the_only_one_of_its_field() -> None:
    assert errors(WITH_VARIABLES.replace("{profile: ", "{bootstrap: "), {"HOST": "h", "VERSION": "v"}) == [
        "3:11: cluster.bootstrap: needs the environment variable PROFILE, which is not set"
    ]


@pytest.mark.parametrize(
    ("text", "environ", "what"),
    [
        ("${PROFILE", {}, "holds ${ without an end"),
        ("${}", {}, "holds ${}, which is no name of a variable"),
        ("${A-B}", {}, "holds ${A-B}, which is no name of a variable"),
        ("${A}", {"A": "${B}"}, "needs the environment variable A, which holds ${ itself"),
    ],
)
def test_a_variable_that_cannot_be_filled_in_is_refused(text: str, environ: dict[str, str], what: str) -> None:
    assert errors(LEAST.replace('"localhost:9092"', f"'{text}'"), environ) == [f"3:11: cluster.bootstrap: {what}"]


@pytest.mark.parametrize(
    "line", ["waived_groups: ['${A}']", "acknowledged: ['${A}']", "producers: [{name: '${A}', owner: t, switch: sdk}]"]
)
def test_a_variable_anywhere_else_is_refused(line: str) -> None:
    [found] = errors(LEAST + line, {"A": "a"})
    assert found.endswith("holds ${, which is filled in only in cluster.profile, cluster.bootstrap and a hook's url and env")


@pytest.mark.parametrize(
    "line",
    [
        "cluster: {bootstrap: 'b:1', password: hunter2}",
        "cluster: {bootstrap: 'b:1', sasl.password: hunter2}",
        "groups: [{name: a, owner: t, switch: sdk, api_key: hunter2}]",
        "groups: [{name: a, owner: t, switch: sdk, secret: hunter2}]",
        "groups: [{name: a, owner: t, switch: {hook: {stop_source: [a], start_target: [b], env: {DB_TOKEN: hunter2}}}}]",
        "groups: [{name: a, owner: t, switch: {hook: {url: 'https://a/b', secret: hunter2}}}]",
        "groups: [{name: a, owner: t, switch: {hook: {stop_source: [a], start_target: [b], env: {secret: hunter2}}}}]",
        "cluster: {bootstrap: 'user:hunter2@b:1'}",
        "groups: [{name: a, owner: t, switch: {hook: {url: 'https://u:hunter2@a/b', secret: env:K}}}]",
    ],
)
def test_a_secret_is_refused_and_not_repeated(line: str) -> None:
    name = line.partition(":")[0]
    text = "\n".join(each for each in LEAST.splitlines() if not each.startswith(f"{name}:")) + f"\nway_back: none\n{line}\n"
    with pytest.raises(PlanInvalid) as refused:
        understand(text, "p.yaml", {})
    assert len(refused.value.fields["errors"]) == 1
    assert "hunter2" not in str(refused.value.document())


@pytest.fixture
def loaded() -> Loaded:
    return understand(LEAST + "groups:\n  - {name: a, owner: t, switch: sdk}\n", "p.yaml", {})


def test_a_plan_knows_the_lines_of_its_fields(loaded: Loaded) -> None:
    assert loaded.place(("target", "partitions")) == (5, 28)
    assert loaded.place(("groups", 0, "switch")) == (8, 25)
    assert loaded.place(("groups", 0, "hand_off")) == (8, 5)
    assert loaded.place(("budgets", "hold")) == (2, 1)


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PlanUnreadable, match=r"gone\.yaml cannot be read") as refused:
        load(tmp_path / "gone.yaml", {})
    assert refused.value.why == "No such file or directory"


def test_a_file_that_is_no_text_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"cutover: \xff\n")
    with pytest.raises(PlanUnreadable, match="is not UTF-8 text"):
        load(tmp_path / "p.yaml", {})


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("#" * (LARGEST_BYTES + 1))
    with pytest.raises(PlanUnreadable, match="larger than a plan can be"):
        load(tmp_path / "p.yaml", {})


def test_a_byte_order_mark_is_no_part_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("\ufeff" + LEAST)
    assert read(tmp_path / "p.yaml", {}).plan.cutover == "clicks-3-to-12"
