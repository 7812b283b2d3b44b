"""A cluster of its own, synthetic traffic and planted faults: what the demo and a rehearsal are made of."""
