import threading

import pytest

from cutover.client.errors import Held
from cutover.client.gate import Gate, Route


def held() -> Held:
    return Held("producers are held")


SHUT = Route("", shut=held, seconds=20)


def test_a_topic_that_nobody_follows_is_open() -> None:
    gate = Gate({})
    with gate.lock:
        assert gate.passage("other") == Route("other")


def test_who_waits_passes_when_the_route_is_turned() -> None:
    gate = Gate({"s": SHUT})
    passed: list[str] = []

    def call() -> None:
        with gate.lock:
            passed.append(gate.passage("s").topic)

    caller = threading.Thread(target=call)
    caller.start()
    with gate.lock:
        assert passed == []
        gate.turn({"s": Route("t", followed=True, moved=True)})
    caller.join(60)
    assert passed == ["t"]


def test_who_waited_too_long_gets_the_routes_error_and_one_without_patience_at_once() -> None:
    gate = Gate({"s": Route("", shut=held, seconds=0.01), "never": Route("", shut=held)})
    with gate.lock:
        for topic in ("s", "never"):
            with pytest.raises(Held):
                gate.passage(topic)


def test_a_transaction_begins_only_when_every_route_is_open() -> None:
    gate = Gate({"a": Route("a"), "b": Route("", shut=held, seconds=0.01)})
    with gate.lock, pytest.raises(Held):
        gate.all_open()
    with gate.lock:
        gate.turn({"a": Route("a"), "b": Route("b")})
        assert set(gate.all_open()) == {"a", "b"}
