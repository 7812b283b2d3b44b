"""docs/plan.md says what the schema says; run this file with --write to renew its tables."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cutover.plan import schema
from cutover.plan.rules import RULES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plan.md"
TABLES = re.compile(r"(<!-- fields:.*?-->\n).*?(<!-- /fields -->)", re.DOTALL)
NULL = {"type": "null"}
Part = Mapping[str, Any]


def tables() -> str:
    found = schema()
    return "\n".join(tables_of("", found, found["$defs"], set()))


def tables_of(path: str, part: Part, definitions: Part, done: set[str]) -> Iterator[str]:
    """One table for an object, then those of the objects within it; an object that is used twice has one."""
    yield from [f"### {path or 'The plan'}", "", "| field | values | default | meaning |", "|---|---|---|---|"]
    for name, each in part["properties"].items():
        meaning = " ".join(each.get("description", "").split())
        required = name in part.get("required", ())
        yield f"| `{name}` | {values_of(each, definitions)} | {default_of(each, required=required)} | {meaning} |"
    yield ""
    for name, each in part["properties"].items():
        below = f"{path}.{name}" if path else name
        for ending, title in objects_in(each):
            if title not in done:
                done.add(title)
                yield from tables_of(below + ending, definitions[title], definitions, done)


def objects_in(part: Part) -> Iterator[tuple[str, str]]:
    if "$ref" in part:
        yield "", part["$ref"].rpartition("/")[2]
    for each in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        yield from objects_in(each)
    if isinstance(part.get("items"), Mapping):
        yield from ((f"[]{ending}", title) for ending, title in objects_in(part["items"]))


def values_of(part: Part, definitions: Part) -> str:
    kinds = [each for each in (part.get("anyOf") or part.get("oneOf") or [part]) if each != NULL]
    return ", ".join(dict.fromkeys(value_of(each, part, definitions) for each in kinds))


def value_of(part: Part, whole: Part, definitions: Part) -> str:
    said = part.get("format") or whole.get("format")
    if said:
        return str(said)
    if "$ref" in part:
        return "see below"
    if "enum" in part:
        return ", ".join(f"`{each}`" for each in part["enum"])
    if "anyOf" in part or "oneOf" in part:
        return values_of(part, definitions)
    if part["type"] == "array":
        return f"list of: {values_of(part['items'], definitions)}"
    if part["type"] == "object":
        return f"mapping of names to: {values_of(part['additionalProperties'], definitions)}"
    return {"string": "text", "boolean": "`true`, `false`"}.get(part["type"]) or number_of(part)


def number_of(part: Part) -> str:
    most = f" to {part['maximum']}" if "maximum" in part else " or more"
    return f"whole number, {part['minimum']}{most}"


def default_of(part: Part, *, required: bool) -> str:
    if required:
        return "required"
    default = part.get("default", "")
    if default in ("", None, [], {}):
        return "see right" if default == "" and "Default:" in part.get("description", "") else "none"
    return "see its table" if isinstance(default, dict) else f"`{default if isinstance(default, str) else json.dumps(default)}`"


def test_the_tables_of_fields_are_those_of_the_schema() -> None:
    found = TABLES.search(PAGE.read_text())
    assert found is not None
    assert found[0] == found[1] + tables() + found[2], "renew it: python tests/unit/test_plan_docs.py --write"


def test_every_field_says_what_it_means() -> None:
    found = schema()
    unsaid = [
        f"{title}.{name}"
        for title, part in {"Plan": found, **found["$defs"]}.items()
        for name, each in part["properties"].items()
        if not each.get("description")
    ]
    assert unsaid == []


def test_every_rule_between_fields_is_on_the_page() -> None:
    page = PAGE.read_text()
    assert [rule.broken.__name__ for rule in RULES if f"`{rule.broken.__name__}`" not in page] == []


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(TABLES.sub(lambda found: found[1] + tables() + found[2], PAGE.read_text()))
