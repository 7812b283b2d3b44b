"""The values that the rest of the code speaks of: topics, partitions, offsets, groups.

Frozen, without behaviour that reaches the world. Offsets are Kafka offsets; a *position* is the next offset to read.
"""
