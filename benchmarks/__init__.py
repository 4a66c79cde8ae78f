"""Speed and quality goals, each measured against a baseline or peer in the same run.

A module of this package with a `BENCHMARK` is found by `python -m benchmarks [name …]`.
"""
