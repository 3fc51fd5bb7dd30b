"""Runs: folders of whole Parquet shards, and the snapshots that make them readable."""
