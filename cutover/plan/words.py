"""What pydantic finds, in the words of an operator: a path in the file and a sentence that goes on from it."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cutover.plan.schema import fields_at
from cutover.plan.wrong import Path, Wrong

SAID: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping (name: value)",
    "mapping_type": "must be a mapping (name: value)",
    "model_type": "must be a mapping (name: value)",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
LONGEST = 60


def wrongs_of(error: ValidationError, values: Any) -> Iterator[Wrong]:  # noqa: ANN401 - what was validated
    """Each error of the validation of these values."""
    for each in error.errors(include_url=False):
        if _is_consequence(each):
            continue
        path = _path(each, values)
        found = each.get("ctx", {}).get("found")
        if found is not None:
            yield from (wrong.below(path) for wrong in found)
        else:
            yield Wrong(path, _sentence(each, path))


def _is_consequence(error: ErrorDetails) -> bool:
    """Whether another error is the reason: a default that depends on a wrong field, a list that is too short without its wrong entries."""
    return error["type"] == "default_factory_not_called" or (error["type"] == "too_short" and bool(error["input"]))


def _path(error: ErrorDetails, values: Any) -> Path:  # noqa: ANN401
    """The way to the error in the values: pydantic adds steps of its own where a field may be of several kinds."""
    path: list[str | int] = []
    here = values
    for step in error["loc"]:
        if (isinstance(here, dict) and step in here) or (isinstance(here, list) and step in range(len(here))):
            path.append(step)
            here = cast("Any", here)[step]
    return (*path, error["loc"][-1]) if error["type"] == "missing" else tuple(path)


def _sentence(error: ErrorDetails, path: Path) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "wrong":
        return str(context["what"])
    if kind == "literal_error":
        return f"is {_shown(error['input'])}, not {context['expected'].replace(chr(39), '')}"
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return f"is {_shown(error['input'])}, must be {bound}"
    return _quoted(SAID.get(kind) or error["msg"], error)


def _quoted(said: str, error: ErrorDetails) -> str:
    value = error["input"]
    if error["type"] == "string_type" and isinstance(value, int):
        return f'{said}: write "{str(value).lower() if isinstance(value, bool) else value}" with quotes'
    if error["type"] == "int_type" and isinstance(value, str) and value.isdecimal():
        return f"{said}: write {value} without quotes"
    return said


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= LONGEST else text[:LONGEST] + "...") if isinstance(value, str) else text


def _unknown(path: Path) -> str:
    known = fields_at(path[:-1])
    close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    return "is not known here: " + (f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}")
