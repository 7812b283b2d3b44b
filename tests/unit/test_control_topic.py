"""The control topic is made by whoever comes first; the others take it as it is, as soon as their broker has heard of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from cutover.errors import TopicExists, UnknownTopic
from cutover.stages import provisioned
from tests.unit.moves.test_stopped import Shop


class Cluster:
    """A cluster on which another run is first; the broker that is asked hears of it after some questions."""

    def __init__(self, deaf: int) -> None:
        self.deaf = deaf

    def describe_topics(self, topics: list[str]) -> dict[str, Any]:
        if topics == ["_cutover.control"]:
            self.deaf -= 1
            if self.deaf >= 0:
                raise UnknownTopic("there is no such topic", topic=topics[0])
        return {topics[0]: SimpleNamespace(topic_id="its id", partitions=[SimpleNamespace(replicas=(1, 2, 3))])}

    def create_topic(self, topic: str, partitions: int, *, replication_factor: int, configs: object) -> Any:  # noqa: ANN401
        assert (partitions, replication_factor, configs) == (1, 3, provisioned.CONTROL)
        raise TopicExists("there is a topic of this name already", topic=topic)


@pytest.mark.parametrize("deaf", [0, 1, 3])
def test_one_that_another_run_has_just_made_is_taken_once_the_broker_has_heard_of_it(deaf: int) -> None:
    shop = Shop()
    caught: list[bool] = []
    world: Any = shop
    world.cluster, world.log = Cluster(deaf), SimpleNamespace(topic="_cutover.control", catch_up=lambda: caught.append(True))
    assert provisioned.create_control(world)["topic_id"] == "its id"
    assert (world.has_control, caught) == (True, [True])
