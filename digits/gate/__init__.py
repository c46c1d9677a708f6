"""Compare two sets of results, and decide whether the candidate may replace the base."""
