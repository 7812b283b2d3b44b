import pytest
from confluent_kafka import KafkaError, Message

from cutover.client.deliveries import Deliveries


def message(topic: str = "s", partition: int = 0, offset: int = 0) -> Message:
    return Message(topic=topic, partition=partition, offset=offset)


def test_the_greatest_acknowledged_offset_of_each_partition_is_kept() -> None:
    deliveries = Deliveries(None, only_errors=False)
    for partition, offset in ((0, 3), (1, 9), (0, 5), (0, 4)):
        deliveries.callback(None)(None, message(partition=partition, offset=offset))
    assert deliveries.offsets("s") == {0: 5, 1: 9}
    assert deliveries.offsets("t") == {}


def test_what_is_on_its_way_is_counted_by_topic_until_its_callback_was_called() -> None:
    deliveries = Deliveries(None, only_errors=False)
    deliveries.sent["s"] += 2
    deliveries.sent["t"] += 1
    deliveries.callback(None)(None, message())
    assert (deliveries.pending("s"), deliveries.pending("t"), deliveries.pending()) == (1, 1, 2)


@pytest.mark.parametrize(("code", "doubtful"), [(KafkaError._MSG_TIMED_OUT, 1), (KafkaError.MSG_SIZE_TOO_LARGE, 0)])
def test_a_failure_after_which_the_record_may_be_there_is_doubtful(code: int, doubtful: int) -> None:
    deliveries = Deliveries(None, only_errors=False)
    deliveries.callback(None)(KafkaError(code), message())
    assert deliveries.doubtful["s"] == doubtful
    assert deliveries.offsets("s") == {}


def test_an_offset_that_was_not_told_is_none() -> None:
    deliveries = Deliveries(None, only_errors=False)
    deliveries.callback(None)(None, message(offset=-1))
    assert deliveries.offsets("s") == {}


def test_the_records_own_callback_goes_before_the_one_of_the_configuration() -> None:
    heard: list[str] = []
    deliveries = Deliveries(lambda *_: heard.append("config"), only_errors=False)
    deliveries.callback(None)(None, message())
    deliveries.callback(lambda *_: heard.append("own"))(None, message())
    assert heard == ["config", "own"]


def test_who_wants_errors_only_hears_errors_only() -> None:
    heard: list[bool] = []
    deliveries = Deliveries(lambda error, _: heard.append(error is not None), only_errors=True)
    deliveries.callback(None)(None, message())
    deliveries.callback(None)(KafkaError(KafkaError._FAIL), message())
    assert heard == [True]
    assert deliveries.pending() == -2


def test_a_thread_is_inside_only_while_a_callback_of_the_application_runs() -> None:
    seen: list[bool] = []
    deliveries = Deliveries(None, only_errors=False)
    deliveries.callback(lambda *_: seen.append(deliveries.inside))(None, message())
    assert (seen, deliveries.inside) == ([True], False)


def test_what_a_callback_raises_reaches_the_application_but_not_the_librarys_thread() -> None:
    deliveries = Deliveries(None, only_errors=False)

    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        deliveries.callback(wrong)(None, message())
    with deliveries.own_thread():
        deliveries.callback(wrong)(None, message())
    assert deliveries.pending() == -2
