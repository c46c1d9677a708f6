"""Training: the same bytes for any number of workers and processes."""
