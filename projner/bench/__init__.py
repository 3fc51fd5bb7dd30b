"""Benchmarks: what projner does beside other ways to do the same, in one process run.

Each module has `bench(...)`, which gives a `measure.Report`. Where both sides should find the same,
the report says how far they do.
"""
