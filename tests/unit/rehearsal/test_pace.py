"""The demo on a machine that does not keep up: producers write less from then on, and it is said."""

from pathlib import Path

import pytest

from cutover.model import Committed, TopicPartition
from cutover.rehearsal.scene import EASE_SECONDS, OVERWHELMED_RECORDS, Cast, Names, Scene
from cutover.rehearsal.traffic import PACE_SECONDS, Pace
from cutover.twin.cluster import Twin

WHERE = TopicPartition("orders", 0)
PAIR = Names("orders", "orders.v2")


def test_what_is_due_follows_the_share_of_the_rate_from_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "pace"
    pace = Pace(100, path, 50, _at=10.0)
    assert pace.due(12.0) == 250
    path.write_text("0.5")
    assert pace.due(12.0 + PACE_SECONDS) == 250 + 100 * PACE_SECONDS * 0.5
    assert pace.due(22.5) == 275 + 500


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    twin = Twin()
    twin.create_topic("orders", 1, replication_factor=1)
    for _ in range(OVERWHELMED_RECORDS + 100):
        twin.append(WHERE, b"k", b"v")
    return Scene(Cast((PAIR,)), "ignored:9092", tmp_path, twin, lambda _: None)


def look(scene: Scene) -> None:
    scene._looked_at -= EASE_SECONDS
    scene._ease()


def stand(scene: Scene, offset: int) -> None:
    assert isinstance(scene.cluster, Twin)
    for group in (scene.cast.library, scene.cast.hooked, scene.cast.primed):
        scene.cluster.alter_offsets(group, {WHERE: Committed(offset)})


def test_producers_write_half_once_groups_fall_further_and_further_behind(scene: Scene, tmp_path: Path) -> None:
    pace = tmp_path / "pace"
    stand(scene, 90)
    look(scene)
    assert not pace.exists()  # one may have been stopped for its move
    look(scene)
    look(scene)
    assert not pace.exists()  # far behind, and no further
    for offset in (60, 30):
        stand(scene, offset)
        look(scene)
    assert pace.read_text() == "0.5"
    for offset in (200, 100):
        stand(scene, offset)
        look(scene)
    assert pace.read_text() == "0.5"
