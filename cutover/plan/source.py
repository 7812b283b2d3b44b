"""A YAML text as plain values, with the line and column of each of them.

PyYAML parses; this reads its events and nodes. Plain YAML only: no tags, no anchors, no second document, no repeated key, and of
the plain scalars only true, false, null and whole numbers are anything but text (so 10:00 and no stay what was written).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from cutover.plan.wrong import Path, Wrong

DEEPEST = 16
TAG: Final = "tag:yaml.org,2002:"


class Place(NamedTuple):
    """A line and a column, both from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Text:
    """What a text holds: its values, where each key and value stands, and what is wrong with the text itself."""

    values: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)
    wrongs: list[tuple[Place, Wrong]] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Where the field is written: its key, else its value; for one that is missing, where its parent is."""
        for end in range(len(path), -1, -1):
            found = self.keys.get(path[:end]) or self.places.get(path[:end])
            if found is not None:
                return found
        return Place(1, 1)


class _Loader(yaml.SafeLoader):
    """Safe, and with fewer surprises among plain scalars."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own shape


_Loader.add_implicit_resolver(f"{TAG}bool", re.compile(r"(true|false)\Z"), ["t", "f"])
_Loader.add_implicit_resolver(f"{TAG}null", re.compile(r"(null|~|)\Z"), ["n", "~", ""])
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(r"-?(0|[1-9][0-9]{0,17})\Z"), list("-0123456789"))


def parse(text: str) -> Text:
    """Read the text; what is wrong with it as YAML is in `wrongs`, and then it may have no values."""
    found = Text()
    try:
        found.wrongs = list(_refused(text))
        if not found.wrongs:
            root = yaml.compose(text, Loader=_Loader)
            written = _value(root, (), found) if root is not None else None
            found.values = {} if written is None else written
    except yaml.MarkedYAMLError as error:
        place = _mark(error.problem_mark)
        hint = ": write a ${VARIABLE} in quotes" if "${" in text.split("\n")[place.line - 1] else ""
        found.wrongs.append((place, Wrong((), f"is not YAML: {error.problem or error.context}{hint}")))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, error.position - before.rfind("\n"))
        found.wrongs.append((place, Wrong((), "is not YAML: it holds a character that YAML does not allow")))
    return found


def _mark(mark: Any) -> Place:  # noqa: ANN401 - PyYAML's marks have no type
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _refused(text: str) -> Iterator[tuple[Place, Wrong]]:
    """What is YAML and is not taken; stops where nesting is too deep."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        what = "is nested too deeply" if depth > DEEPEST else _refused_event(event, documents)
        if what:
            yield _mark(event.start_mark), Wrong((), what)
        if depth > DEEPEST or documents > 1:
            return


def _refused_event(event: yaml.Event, documents: int) -> str:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        return "holds an anchor or an alias: write the value out in both places"
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        return f"holds the tag {event.tag}: a plan has none"
    return "holds a second document: one file is one plan" if isinstance(event, yaml.DocumentStartEvent) and documents > 1 else ""


def _value(node: yaml.Node, path: Path, found: Text) -> Any:  # noqa: ANN401 - a YAML value
    found.places[path] = _mark(node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, found)
    if isinstance(node, yaml.SequenceNode):
        return [_value(each, (*path, number), found) for number, each in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, path: Path, found: Text) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = _mark(key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode):
            found.wrongs.append((place, Wrong(path, "has a key that is not text")))
            continue
        key = str(key_node.value)
        if key in values:
            first = found.keys[(*path, key)]
            found.wrongs.append((place, Wrong((*path, key), f"stands here again: it is in line {first.line} already")))
            continue
        found.keys[(*path, key)] = place
        values[key] = _value(value_node, (*path, key), found)
    return values


def _scalar(node: yaml.Node) -> str | int | bool | None:
    kind, text = str(node.tag).removeprefix(TAG), str(node.value)
    if kind == "int":
        return int(text)
    return {"bool": text == "true", "null": None}.get(kind, text)
