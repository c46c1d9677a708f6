"""A folder or a bucket: whole writes, compare-and-set, and the models deployed there."""
