"""A folder or a bucket: atomic writes, compare-and-set, and the models deployed there."""
