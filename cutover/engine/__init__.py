"""Starts, feeds, watches, adopts and stops engine processes; speaks the contract of docs/engine.md.

It leaves to its callers when to start one, what to do with the events, and whether to start a dead one again.
"""
