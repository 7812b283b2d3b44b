"""One text for one value, no secret in it, and what differs between two of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import LiteralSecret
from cutover.journal.canonical import canonical, differences, refuse_secrets

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)


@given(VALUES)
def test_the_text_of_what_was_read_is_the_text_that_was_written(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text
    assert text.isascii()


@given(st.dictionaries(st.integers(), st.integers(), min_size=2))
def test_keys_that_were_numbers_are_sorted_as_the_texts_they_become(value: dict[int, int]) -> None:
    assert canonical(value) == canonical({str(key): number for key, number in reversed(value.items())})


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": b"bytes"}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical(value)


@pytest.mark.parametrize("name", ["password", "Secret", "TOKEN", "sasl.password", "ssl.key.password", "sasl.oauthbearer.token"])
def test_a_secret_under_any_of_its_names_is_refused_without_being_repeated(name: str) -> None:
    for body in ({name: "hunter2"}, {"list": [{"deep": {name: "hunter2"}}]}, {name: ["hunter2"]}):
        with pytest.raises(LiteralSecret) as refused:
            refuse_secrets(body, "the body")
        assert "hunter2" not in json.dumps(refused.value.document())


def test_references_absent_secrets_and_names_of_groups_pass() -> None:
    refuse_secrets(
        {"password": "env:NAME", "token": "file:/run/token", "secret": None, "positions": {"reset-password": 5, "token": 7}}, "it"
    )


@given(VALUES, VALUES)
def test_two_values_have_no_differences_exactly_when_their_texts_are_equal(old: object, new: object) -> None:
    assert list(differences(old, old)) == []
    assert (list(differences(old, new)) == []) == (canonical(old) == canonical(new))


def test_differences_are_named_by_their_paths() -> None:
    old = {"a": {"b": [1, 2]}, "gone": None, "same": "x", "kind": 1}
    new = {"a": {"b": [1, 3, 4]}, "come": "y", "same": "x", "kind": True}
    assert list(differences(old, new)) == [
        "a.b[1]: 2 → 3",
        "a.b[2]: (absent) → 4",
        'come: (absent) → "y"',
        "gone: null → (absent)",
        "kind: 1 → true",
    ]
