"""A Kafka cluster in memory, with the semantics that the core relies on and nothing else.

It passes the same contract suite as the real adapter; the tests and the simulator run on it. Not thread-safe, no clock of its own.
"""

from cutover.twin.cluster import Twin
from cutover.twin.groups import TwinMember
from cutover.twin.transactions import TwinProducer
from cutover.twin.writer import TwinWriter

__all__ = ["Twin", "TwinMember", "TwinProducer", "TwinWriter"]
