"""Measurements that the README quotes: each writes benchmarks/results/<name>.json."""
