"""The JSON Schema of a plan, for editors and for docs/plan.md; and which fields there are at a place."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cutover.plan.model import Plan
from cutover.plan.units import DURATION_FORMAT, duration_text
from cutover.plan.wrong import Path


@cache
def _schema() -> dict[str, Any]:
    found = Plan.model_json_schema(by_alias=True)
    for part in (found, *found["$defs"].values()):
        _correct(part, found["$defs"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "A cutover plan"}


def _correct(part: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    """Defaults as a file has them, and words for a field whose part says the same (pydantic leaves both out)."""
    for each in part["properties"].values():
        if each.get("format") == DURATION_FORMAT and isinstance(each.get("default"), float):
            each["default"] = duration_text(each["default"])
        if "$ref" in each:
            each.setdefault("description", definitions[each["$ref"].rpartition("/")[2]]["description"])


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12); rules between fields are not in it."""
    return dict(_schema())


def fields_at(path: Path) -> list[str]:
    """The fields that are known at a place, in the order of the model."""
    found = [_schema()]
    for step in path:
        found = [below for each in found for below in _below(each, step)]
    return [name for each in found for name in each.get("properties", {})]


def _below(part: Mapping[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    below = part.get("items") if isinstance(step, int) else part.get("properties", {}).get(step)
    return alternatives(below) if below is not None else iter(())


def alternatives(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The kinds of value that a part of the schema allows, references followed."""
    if "$ref" in part:
        yield from alternatives(_schema()["$defs"][part["$ref"].rpartition("/")[2]])
    elif "anyOf" in part or "oneOf" in part:
        for each in part.get("anyOf") or part["oneOf"]:
            yield from alternatives(each)
    else:
        yield dict(part)
