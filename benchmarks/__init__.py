"""The measurements that README.md and docs/ quote. Each writes benchmarks/results/NAME.json."""
