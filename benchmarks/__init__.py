"""Measures simpleworkflow against bare SQL and against its peers: `python -m benchmarks --help`.

Nothing is imported here: the programs of peers load this package in environments of their own.
"""
