"""The gate: compare a change with its base and decide whether it may be merged."""
