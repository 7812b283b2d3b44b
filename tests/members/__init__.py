"""Consumers of three client libraries with their default settings, each a process that writes down what it was given."""
