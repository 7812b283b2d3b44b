"""Drives any client through the control protocol. `python -m tests.conformance --command "..."`; docs/protocol.md says how."""
