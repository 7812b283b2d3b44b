"""The means of switching groups and producers that are not on the client library: hooks, primes, the gate, checkpoints."""

from cutover.switches.journalled import JournalledHooks

__all__ = ["JournalledHooks"]
