"""Measurements that README.md and docs/ quote: each writes benchmarks/results/<name>.json."""
