"""The ceiling on this machine: reading alone and writing alone, with the client library that the engine uses."""

from cutover.engine.configuration import Topic
from tests.bench.copies import Copy
from tests.bench.ground import Ground
from tests.bench.measured import busy_seconds, cpu_seconds


def consume(ground: Ground, origin: Topic, records: int) -> Copy:
    """Read the topic from its beginning and drop the records."""
    return _alone(ground, "consume", topic=origin.name, records=records)


def produce(ground: Ground, follower: Topic, records: int, codec: str) -> Copy:
    """Write the same kind of records, idempotent and acks=all, in no transaction."""
    return _alone(ground, "produce", topic=follower.name, records=records, codec=codec)


def _alone(ground: Ground, task: str, **options: object) -> Copy:
    broker, busy = cpu_seconds(ground.broker_pid), busy_seconds()
    with ground.peer(task, **options) as working:
        said = working.result()
    broker, busy = cpu_seconds(ground.broker_pid) - broker, busy_seconds() - busy
    records, seconds, used = said.answer["records"], said.answer["seconds"], said.usage
    return Copy(
        records, seconds, records, seconds, seconds, used.cpu_seconds, used.cpu_seconds, used.peak_bytes, broker,
        max(0.0, busy - used.cpu_seconds - broker) / seconds,
    )  # fmt: skip
